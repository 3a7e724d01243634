/* What this machine can do at most: posix_spawn of `sh -c COMMAND`, WIDTH at a time, and nothing recorded.
   Usage: spawn_limit JOBS WIDTH COMMAND; prints the seconds that it took. */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: %s JOBS WIDTH COMMAND\n", argv[0]);
        return 2;
    }
    int left = atoi(argv[1]), width = atoi(argv[2]), running = 0;
    char *words[] = {"sh", "-c", argv[3], NULL};
    double began = now();
    while (left > 0 || running > 0) {
        while (left > 0 && running < width) {
            pid_t pid;
            if (posix_spawn(&pid, "/bin/sh", NULL, NULL, words, environ) != 0) {
                perror("posix_spawn");
                return 1;
            }
            left--;
            running++;
        }
        int status;
        if (wait(&status) < 0 || status != 0) {
            fprintf(stderr, "a job failed\n");
            return 1;
        }
        running--;
    }
    printf("%.6f\n", now() - began);
    return 0;
}
