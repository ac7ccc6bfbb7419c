/* What bare.py does, without Python: the part that is the kernel's. Its words are those of job.py. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static const char *setting(int count, char **words, const char *name)
{
    size_t length = strlen(name);
    for (int at = 1; at < count; at++)
        if (strncmp(words[at], name, length) == 0 && words[at][length] == '=')
            return words[at] + length + 1;
    return NULL;
}

static void become_daemon(void)
{
    if (fork() != 0)
        _exit(0);
    setsid();
    if (fork() != 0)
        _exit(0);
    int null = chdir("/") == 0 ? open("/dev/null", O_RDWR) : -1;
    umask(022);
    for (int stream = 0; stream < 3; stream++)
        dup2(null, stream);
    close_range(3, ~0U, 0);
}

static int lock(const char *path)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    return fd < 0 || fcntl(fd, F_SETLK, &whole) != 0 || ftruncate(fd, 0) != 0 || dprintf(fd, "%d\n", getpid()) < 0;
}

static void work(const char *place, long long opened, int marks)
{
    long long up = now();
    char path[4096], byte;
    if (marks)
        access("/mark-body", F_OK);
    snprintf(path, sizeof path, "%s/leash", place);
    int leash = open(path, O_RDONLY | O_NONBLOCK);
    fcntl(leash, F_SETFL, 0);
    snprintf(path, sizeof path, "%s/told", place);
    int told = open(path, O_WRONLY | O_NONBLOCK);
    dprintf(told, "up %d %lld %lld 0\n", getpid(), opened, up);
    close(told);
    if (marks)
        _exit(0);
    while (read(leash, &byte, 1) > 0)
        ;
}

int main(int count, char **words)
{
    const char *place = setting(count, words, "place"), *pidfile = setting(count, words, "pidfile");
    int marks = setting(count, words, "marks") != NULL;
    if (place == NULL)
        return 2;
    if (marks)
        access("/mark-open", F_OK);
    long long opened = now();
    become_daemon();
    if (pidfile != NULL && lock(pidfile) != 0)
        return 1;
    work(place, opened, marks);
    return 0;
}
