/*
 * What the machine itself can do, to put the benchmark's figures in context: memory latency,
 * checksum rates, the ways of making 4 KiB durable, and random reads of a mapped file by how it was
 * written.
 *
 * No store is linked: only the C library, the kernel and libsodium.
 */
#include "bench/stopwatch.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

enum { BLOCK_SIZE = 4096, SYNC_FILE_MIB = 64, READS = 2000000 };

/* What the command line says. */
struct settings {
    const char *dir;  /* where the test files go; they are removed */
    const char *only; /* one section, or NULL for all */
    size_t map_size;  /* bytes of the file that the map section reads */
    unsigned syncs;   /* repetitions of each durable write */
};

/* Where results of measured loops go, so that the compiler must compute them. */
static volatile uint64_t sink;

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
    exit(3);
}

/* ---- memory and file mappings, read at random ---------------------------------------------- */

static inline uint64_t read_at(const uint8_t *base, size_t size, uint64_t random)
{
    uint64_t value;

    memcpy(&value, base + pt_spread(random, size / 8) * 8, 8);
    return value;
}

/* Nanoseconds per read of 8 bytes at random in @p size bytes at @p base, where each address needs
 * the value read before, as in a walk down a tree. */
static double dependent_read_ns(const uint8_t *base, size_t size)
{
    uint64_t state = 1;
    uint64_t start = pt_stopwatch_ns();

    for (unsigned i = 0; i < READS; i++)
        state += i + read_at(base, size, pt_mix(state));
    sink = state;
    return (double)(pt_stopwatch_ns() - start) / READS;
}

/* The same where the addresses are known ahead, so that the processor overlaps the waits. Two
 * loops rather than a flag: a conditional move between two addresses would wait for both. */
static double overlapped_read_ns(const uint8_t *base, size_t size)
{
    uint64_t state = 1;
    uint64_t start = pt_stopwatch_ns();

    for (unsigned i = 0; i < READS; i++)
        state += read_at(base, size, pt_mix(i));
    sink = state;
    return (double)(pt_stopwatch_ns() - start) / READS;
}

static void memory_section(void)
{
    static const size_t sizes_mib[] = {1, 16, 64, 256, 1300};

    (void)printf("\nmemory, 8-byte reads at random (ns each)\n"
                 "%10s %9s %12s %12s\n",
                 "size MiB", "pages", "dependent", "overlapped");
    for (size_t i = 0; i < sizeof(sizes_mib) / sizeof(sizes_mib[0]); i++) {
        size_t size = sizes_mib[i] * MIB;

        for (int huge = 0; huge < 2; huge++) {
            uint8_t *base =
                mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

            if (base == MAP_FAILED)
                die("mmap");
            (void)madvise(base, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
            memset(base, 1, size);
            (void)overlapped_read_ns(base, size); /* warm-up */
            (void)printf("%10zu %9s %12.1f %12.1f\n", sizes_mib[i], huge ? "huge" : "4 KiB",
                         dependent_read_ns(base, size), overlapped_read_ns(base, size));
            (void)munmap(base, size);
        }
    }
}

/* ---- checksums ----------------------------------------------------------------------------- */

static void siphash(const uint8_t *data, size_t size)
{
    uint8_t out[crypto_shorthash_BYTES];
    static const uint8_t key[crypto_shorthash_KEYBYTES];

    (void)crypto_shorthash(out, data, size, key);
    sink = out[0];
}

static void poly1305(const uint8_t *data, size_t size)
{
    uint8_t out[crypto_onetimeauth_BYTES];
    static const uint8_t key[crypto_onetimeauth_KEYBYTES];

    (void)crypto_onetimeauth(out, data, size, key);
    sink = out[0];
}

static void blake2b(const uint8_t *data, size_t size)
{
    uint8_t out[32];

    (void)crypto_generichash(out, sizeof(out), data, size, NULL, 0);
    sink = out[0];
}

/* A plain read of every byte, for comparison. */
static void copy(const uint8_t *data, size_t size)
{
    static uint8_t target[MIB];

    memcpy(target, data, size);
    sink = target[size / 2];
}

static void checksum_row(const char *name, void (*function)(const uint8_t *, size_t))
{
    static const size_t sizes[] = {64, 128, 4 * KIB, 64 * KIB, MIB};
    static uint8_t data[MIB];

    (void)printf("%10s", name);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t rounds = 64 * MIB / (sizes[i] + 192);
        uint64_t start, ns;

        start = pt_stopwatch_ns();
        for (size_t round = 0; round < rounds; round++) {
            data[0] = (uint8_t)round;
            function(data, sizes[i]);
        }
        ns = pt_stopwatch_ns() - start;
        (void)printf(" %7.0f MB/s %9.1f ns", (double)(rounds * sizes[i]) * 1e3 / (double)ns,
                     (double)ns / (double)rounds);
    }
    (void)printf("\n");
}

static void checksum_section(void)
{
    (void)printf("\nchecksums of libsodium, and memcpy\n%10s %22s %22s %22s %22s %22s\n", "",
                 "64 B", "128 B", "4 KiB", "64 KiB", "1 MiB");
    checksum_row("siphash", siphash);
    checksum_row("poly1305", poly1305);
    checksum_row("blake2b", blake2b);
    checksum_row("memcpy", copy);
}

/* ---- making 4 KiB durable ------------------------------------------------------------------ */

/* A file of @p size bytes under @p dir, written in pieces of @p piece bytes and synced. It has no
 * name any more: it goes when @p fd is closed. @p aligned memory of piece bytes is the content. */
static int written_file(const char *dir, size_t size, size_t piece, uint8_t filling)
{
    char path[4096];
    uint8_t *data;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/probe-XXXXXX", dir);
    fd = mkstemp(path);
    if (fd < 0)
        die(path);
    (void)unlink(path);
    if (posix_memalign((void **)&data, 2 * MIB, piece) != 0)
        die("memory");
    memset(data, filling, piece);
    if (fallocate(fd, 0, 0, (off_t)size) != 0)
        die("fallocate");
    for (size_t at = 0; at < size; at += piece)
        if (pwrite(fd, data, piece, (off_t)at) != (ssize_t)piece)
            die("pwrite");
    if (fdatasync(fd) != 0)
        die("fdatasync");
    free(data);
    return fd;
}

/* One 4 KiB block, made durable at @p at in @p fd, mapped at @p map. */
typedef void durable_write(int fd, uint8_t *map, const void *block, size_t at);

static void by_fdatasync(int fd, uint8_t *map, const void *block, size_t at)
{
    (void)map;
    if (pwrite(fd, block, BLOCK_SIZE, (off_t)at) != BLOCK_SIZE || fdatasync(fd) != 0)
        die("pwrite and fdatasync");
}

static void by_dsync(int fd, uint8_t *map, const void *block, size_t at)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)block, .iov_len = BLOCK_SIZE};

    (void)map;
    if (pwritev2(fd, &part, 1, (off_t)at, RWF_DSYNC) != BLOCK_SIZE)
        die("pwritev2");
}

static void by_msync(int fd, uint8_t *map, const void *block, size_t at)
{
    (void)fd;
    memcpy(map + at, block, BLOCK_SIZE);
    if (msync(map + at, BLOCK_SIZE, MS_SYNC) != 0)
        die("msync");
}

static int compare_ns(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void sync_row(const struct settings *settings, const char *name, durable_write *write,
                     size_t piece, bool allocated_only, int extra_flags)
{
    size_t size = SYNC_FILE_MIB * MIB;
    int fd = written_file(settings->dir, size, piece, 0);
    uint64_t *ns = calloc(settings->syncs, sizeof(*ns));
    uint64_t sum = 0;
    uint8_t *map;
    void *block;

    if (allocated_only &&
        (ftruncate(fd, 0) != 0 || fallocate(fd, 0, 0, (off_t)size) != 0 || fsync(fd) != 0))
        die("fallocate");
    if (extra_flags != 0 && fcntl(fd, F_SETFL, extra_flags) != 0)
        die("fcntl");
    map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED || ns == NULL || posix_memalign(&block, BLOCK_SIZE, BLOCK_SIZE) != 0)
        die("memory");
    memset(block, 7, BLOCK_SIZE);
    for (unsigned i = 0; i < settings->syncs; i++) {
        uint64_t start = pt_stopwatch_ns();

        memcpy(block, &i, sizeof(i));
        write(fd, map, block, (size_t)i * BLOCK_SIZE % size);
        ns[i] = pt_stopwatch_ns() - start;
        sum += ns[i];
    }
    qsort(ns, settings->syncs, sizeof(*ns), compare_ns);
    (void)printf("%-58s %9.1f %9.1f %9.1f\n", name, (double)sum / settings->syncs / 1e3,
                 (double)ns[settings->syncs / 2] / 1e3,
                 (double)ns[(size_t)settings->syncs * 99 / 100] / 1e3);
    free(block);
    free(ns);
    (void)munmap(map, size);
    (void)close(fd);
}

/* Nanoseconds to hand 140 bytes to the page cache, one after the other. */
static void small_write_rows(const struct settings *settings)
{
    enum { SMALL = 140 };
    size_t size = SYNC_FILE_MIB * MIB;
    size_t count = size / SMALL;
    static const uint8_t record[SMALL] = {1};

    for (int mapped = 0; mapped < 2; mapped++) {
        int fd = written_file(settings->dir, size, BLOCK_SIZE, 0);
        uint8_t *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        uint64_t start;

        if (map == MAP_FAILED)
            die("mmap");
        if (mapped && madvise(map, size, MADV_POPULATE_WRITE) != 0)
            die("MADV_POPULATE_WRITE");
        start = pt_stopwatch_ns();
        for (size_t i = 0; i < count; i++) {
            if (mapped)
                memcpy(map + i * SMALL, record, SMALL);
            else if (pwrite(fd, record, SMALL, (off_t)(i * SMALL)) != SMALL)
                die("pwrite");
        }
        (void)printf("%-58s %9.3f\n",
                     mapped ? "140 bytes by memcpy into prefaulted pages" : "140 bytes by pwrite",
                     (double)(pt_stopwatch_ns() - start) / (double)count / 1e3);
        (void)munmap(map, size);
        (void)close(fd);
    }
}

static void sync_section(const struct settings *settings)
{
    (void)printf("\n4 KiB made durable, at successive offsets in a file of %d MiB (us)\n"
                 "%-58s %9s %9s %9s\n",
                 SYNC_FILE_MIB, "", "mean", "median", "99 %");
    sync_row(settings, "pwrite + fdatasync", by_fdatasync, BLOCK_SIZE, false, 0);
    sync_row(settings, "pwritev2(RWF_DSYNC)", by_dsync, BLOCK_SIZE, false, 0);
    sync_row(settings, "memcpy + msync", by_msync, BLOCK_SIZE, false, 0);
    sync_row(settings, "pwritev2(RWF_DSYNC), O_DIRECT", by_dsync, BLOCK_SIZE, false, O_DIRECT);
    sync_row(settings, "pwrite + fdatasync, file zeroed in 1 MiB pieces", by_fdatasync, MIB, false,
             0);
    sync_row(settings, "pwritev2(RWF_DSYNC), file zeroed in 1 MiB pieces", by_dsync, MIB, false, 0);
    sync_row(settings, "memcpy + msync, file zeroed in 1 MiB pieces", by_msync, MIB, false, 0);
    sync_row(settings, "pwrite + fdatasync, file only allocated", by_fdatasync, MIB, true, 0);
    sync_row(settings, "pwritev2(RWF_DSYNC), file only allocated", by_dsync, MIB, true, 0);
    sync_row(settings, "memcpy + msync, file only allocated", by_msync, MIB, true, 0);
    small_write_rows(settings);
}

/* ---- a mapped file, by how it was written ---------------------------------------------------- */

/* The line @p name of the mapping at @p base in /proc/self/smaps, in MiB; -1: not there. */
static double smaps_mib(const void *base, const char *name)
{
    FILE *file = fopen("/proc/self/smaps", "re");
    char line[512];
    bool inside = false;
    double found = -1;

    while (file != NULL && found < 0 && fgets(line, sizeof(line), file) != NULL) {
        char *end;
        unsigned long long low = strtoull(line, &end, 16);

        if (*end == '-')
            inside = low == (uintptr_t)base;
        else if (inside && strncmp(line, name, strlen(name)) == 0)
            found = strtod(line + strlen(name), NULL) / 1024;
    }
    if (file != NULL)
        (void)fclose(file);
    return found;
}

/* How the file under test is brought into memory. */
enum map_state {
    MAP_AS_WRITTEN, /* the page cache as the writer left it */
    MAP_COLD        /* evicted first: populating reads it from the disk */
};

/* Map @p fd at an address aligned to 2 MiB, plus @p shift. */
static uint8_t *map_aligned(int fd, size_t size, void **reserve_out, size_t *reserve_size_out)
{
    size_t reserve_size = size + 4 * MIB;
    uint8_t *reserve =
        mmap(NULL, reserve_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    uint8_t *base;

    if (reserve == MAP_FAILED)
        die("mmap");
    base = (uint8_t *)(((uintptr_t)reserve + 2 * MIB - 1) / (2 * MIB) * (2 * MIB));
    if (mmap(base, size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) != base)
        die("mmap");
    *reserve_out = reserve;
    *reserve_size_out = reserve_size;
    return base;
}

static void map_row(int fd, size_t size, size_t piece, enum map_state state, bool huge)
{
    size_t reserve_size;
    void *reserve;
    uint8_t *base;
    uint64_t start;
    double populate_ms;

    if (state == MAP_COLD && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        die("posix_fadvise");
    base = map_aligned(fd, size, &reserve, &reserve_size);
    if (huge && madvise(base, size, MADV_HUGEPAGE) != 0)
        die("MADV_HUGEPAGE");
    start = pt_stopwatch_ns();
    if (madvise(base, size, MADV_POPULATE_READ) != 0)
        die("MADV_POPULATE_READ");
    populate_ms = (double)(pt_stopwatch_ns() - start) / 1e6;
    (void)overlapped_read_ns(base, size); /* warm-up */
    (void)printf("%10zu %8s %6s %12.0f %12.1f %12.1f %12.1f\n", piece / KIB,
                 state == MAP_COLD ? "cold" : "cached", huge ? "yes" : "no",
                 smaps_mib(base, "FilePmdMapped:"), populate_ms, dependent_read_ns(base, size),
                 overlapped_read_ns(base, size));
    (void)munmap(reserve, reserve_size);
}

static void map_section(const struct settings *settings)
{
    static const size_t pieces_kib[] = {4, 64, 256, 1024, 2048, 4096};

    (void)printf("\nfile of %zu MiB, written by pwrite of one piece after the other, mapped "
                 "read-only at 2 MiB\n"
                 "alignment and populated; 8-byte reads at random (ns each)\n"
                 "%10s %8s %6s %12s %12s %12s %12s\n",
                 settings->map_size / MIB, "piece KiB", "cache", "advice", "PMD MiB", "populate ms",
                 "dependent", "overlapped");
    for (size_t i = 0; i < sizeof(pieces_kib) / sizeof(pieces_kib[0]); i++) {
        size_t piece = pieces_kib[i] * KIB;
        size_t size = settings->map_size / (4 * MIB) * (4 * MIB);
        int fd = written_file(settings->dir, size, piece, 1);

        map_row(fd, size, piece, MAP_AS_WRITTEN, false);
        map_row(fd, size, piece, MAP_AS_WRITTEN, true);
        map_row(fd, size, piece, MAP_COLD, false);
        map_row(fd, size, piece, MAP_COLD, true);
        (void)close(fd);
    }
}

/* ---- command line --------------------------------------------------------------------------- */

static void usage(FILE *out)
{
    (void)fputs("usage: probe [--dir DIR] [--map-size MIB] [--syncs COUNT] [--only SECTION]\n"
                "Print what this machine can do: memory, checksum, sync, map (the sections).\n"
                "Test files go to DIR (default: here), on the filesystem the stores will use.\n",
                out);
}

static struct settings settings_read(int argc, char **argv)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},   {"map-size", required_argument, NULL, 'm'},
        {"syncs", required_argument, NULL, 's'}, {"only", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0}};
    struct settings settings = {".", NULL, 1300 * MIB, 4000};
    int letter;

    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (letter == 'd')
            settings.dir = optarg;
        else if (letter == 'm')
            settings.map_size = strtoul(optarg, NULL, 10) * MIB;
        else if (letter == 's')
            settings.syncs = (unsigned)strtoul(optarg, NULL, 10);
        else if (letter == 'o')
            settings.only = optarg;
        else {
            usage(letter == 'h' ? stdout : stderr);
            exit(letter == 'h' ? 0 : 2);
        }
    }
    if (settings.map_size < 4 * MIB || settings.syncs < 100) {
        (void)fprintf(stderr, "probe: at least 4 MiB and 100 syncs\n");
        exit(2);
    }
    return settings;
}

static bool wanted(const struct settings *settings, const char *section)
{
    return settings->only == NULL || strcmp(settings->only, section) == 0;
}

int main(int argc, char **argv)
{
    struct settings settings = settings_read(argc, argv);

    if (sodium_init() < 0)
        die("libsodium");
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (wanted(&settings, "checksum"))
        checksum_section();
    if (wanted(&settings, "sync"))
        sync_section(&settings);
    if (wanted(&settings, "memory"))
        memory_section();
    if (wanted(&settings, "map"))
        map_section(&settings);
    return 0;
}
