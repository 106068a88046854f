/* A clock that says another time and goes on from there: loaded before other libraries (LD_PRELOAD) it adds
   LABKIT_CLOCK seconds to what a program reads. What measures durations stays as it is, and so do sleeps. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long long apart;

__attribute__((constructor)) static void begin(void) {
    const char *asked = getenv("LABKIT_CLOCK");
    apart = asked ? atoll(asked) : 0;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(id, now);
    if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE || id == CLOCK_TAI)) now->tv_sec += apart;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    int failed = clock_gettime(CLOCK_REALTIME, &exact);
    if (!failed && now) *now = (struct timeval){exact.tv_sec, exact.tv_nsec / 1000};
    return failed;
}

time_t time(time_t *kept) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (kept) *kept = now.tv_sec;
    return now.tv_sec;
}

/* A moment up to which somebody waits: by our clock, unless it is nearer to the one that measures durations. */
static struct timespec as_the_system_counts(const struct timespec *until) {
    struct timespec ours, steady, found = *until;
    clock_gettime(CLOCK_REALTIME, &ours);
    clock_gettime(CLOCK_MONOTONIC, &steady);
    if (llabs(until->tv_sec - ours.tv_sec) < llabs(until->tv_sec - steady.tv_sec)) found.tv_sec -= apart;
    return found;
}

int pthread_cond_timedwait(pthread_cond_t *restrict one, pthread_mutex_t *restrict lock,
                           const struct timespec *restrict until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    struct timespec moment = as_the_system_counts(until);
    return real(one, lock, &moment);
}

int sem_timedwait(sem_t *restrict one, const struct timespec *restrict until) {
    static int (*real)(sem_t *, const struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "sem_timedwait");
    struct timespec moment = as_the_system_counts(until);
    return real(one, &moment);
}
