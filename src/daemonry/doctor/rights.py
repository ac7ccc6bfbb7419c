"""What the process may do: its ids, groups and capabilities, and what others may learn of it."""

from __future__ import annotations

import grp
import os
import pwd

from .finding import Untold, ill, well

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .finding import Answer
    from .reading import Subject


def user_and_group_ids(subject: Subject) -> Answer:
    """Step 13: the same user in every respect. The saved ids are a question of their own."""
    users, groups = subject.ids("Uid"), subject.ids("Gid")
    if len({*users[:2], users[3]}) > 1 or len({*groups[:2], groups[3]}) > 1:
        fact = f"real, effective, saved, file system: user {_listed(users)}, group {_listed(groups)}"
        return ill(fact, "set all of them, by setresgid(2) and then setresuid(2)")
    fact = f"user {user_name(users[1])}, group {_group_name(groups[1])}"
    return well(fact, "run it as a user of its own if it need not be root" if users[1] == 0 else "")


def _listed(numbers: list[int]) -> str:
    return " ".join(map(str, numbers))


def user_name(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return f"{grp.getgrgid(gid).gr_name} ({gid})"
    except KeyError:
        return str(gid)


def way_back(subject: Subject) -> Answer:
    """Step 13: rights that were given up are not to be had again. The saved ids are what seteuid(2) goes back to."""
    users, groups = subject.ids("Uid"), subject.ids("Gid")
    back = [f"user {user_name(users[2])}"] if users[2] != users[1] else []
    back += [f"group {_group_name(groups[2])}"] if groups[2] != groups[1] else []
    if back:
        return ill(f"to {' and '.join(back)}", "give up the saved ids too, by setresgid(2) and then setresuid(2)")
    return well("none")


def supplementary_groups(subject: Subject) -> Answer:
    """Step 13: none of the user's that it was before, which setuid(2) leaves as they are."""
    uid, gid = subject.ids("Uid")[1], subject.ids("Gid")[1]
    groups = subject.ids("Groups")
    fact = ", ".join(map(_group_name, groups)) or "none"
    if uid == 0:
        return well(fact)
    kept = [each for each in groups if each != gid and (each == 0 or each not in _groups_of(uid, gid))]
    if not kept:
        return well(fact)
    names = ", ".join(map(_group_name, kept))
    advice = f"{user_name(uid)} has no part in {names}: call setgroups(2) before setuid(2), unless they were configured"
    return ill(fact, advice)


def _groups_of(uid: int, gid: int) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        return []


def capabilities(subject: Subject) -> Answer:
    """Step 13: a user who is not root has none of root's rights, unless they were given to him.

    Source: capabilities(7). The ambient set is how a service manager gives some; nothing is in it by accident.
    """
    held = int(subject.field("CapEff"), 16) | int(subject.field("CapPrm"), 16)
    kept = held & ~int(subject.status.get("CapAmb", "0"), 16)
    if 0 in subject.ids("Uid")[:2]:
        return well("root's" if held else "none")
    if kept:
        return ill(
            _capability_names(kept), "drop them with capset(2), unless its executable file has them; or setresuid(2)"
        )
    return well(f"{_capability_names(held)}, as given to it" if held else "none")


def _capability_names(bits: int) -> str:
    names = _CAPABILITIES.split()
    found = [number for number in range(bits.bit_length()) if bits >> number & 1]
    return ", ".join(names[each] if each < len(names) else f"capability {each}" for each in found)


# By number, from linux/capability.h.
_CAPABILITIES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
    "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct "
    "sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap "
    "mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
)


def core_limit(subject: Subject) -> Answer:
    """No core files, in which anybody who gets at them reads the daemon's secrets; see PEP 3143, "prevent_core"."""
    start = "Max core file size"
    line = next((line for line in subject.read("limits").splitlines() if line.startswith(start)), None)
    if line is None:
        raise Untold("the kernel does not tell the limit")
    soft = line[len(start) :].split()[0]
    if soft == "0":
        return well(soft)
    return ill(soft, "set RLIMIT_CORE to 0 if it holds secrets: a core file has them all")


def no_new_privileges(subject: Subject) -> Answer:
    """Whether exec gives it nothing that it hasn't yet; see PR_SET_NO_NEW_PRIVS(2const)."""
    # A daemon that starts set-user-ID programs, such as sendmail(8), can't have it, so it is no fault to lack it.
    return well("yes" if subject.field("NoNewPrivs") == "1" else "no")
