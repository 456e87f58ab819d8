/*
 * Gives a fuzz target every file of the directories named as arguments: what
 * libFuzzer found once is checked by any compiler, in order, in seconds.
 * No input at all is a failure.
 */

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static int
replay_file(const char *path)
{
    long      size;
    FILE     *file;
    size_t    n;
    uint8_t  *data;

    file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }

    data = NULL;

    if (fseek(file, 0, SEEK_END) != 0) {
        goto failed;
    }

    size = ftell(file);
    if (size < 0) {
        goto failed;
    }

    rewind(file);

    /* exactly as long as the input: the sanitizer sees one byte too many */

    data = malloc(size == 0 ? 1 : (size_t) size);
    if (data == NULL) {
        goto failed;
    }

    n = fread(data, 1, (size_t) size, file);
    if (n != (size_t) size) {
        goto failed;
    }

    fclose(file);

    (void) LLVMFuzzerTestOneInput(size == 0 ? data + 1 : data, n);

    free(data);

    return 0;

failed:

    fprintf(stderr, "%s: cannot be read\n", path);
    free(data);
    fclose(file);

    return 1;
}


static int
replay_dir(const char *path, unsigned *count)
{
    int              i, n, rc, len;
    char            *name;
    struct dirent  **entries;

    n = scandir(path, &entries, NULL, alphasort);
    if (n < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }

    rc = 0;

    for (i = 0; i < n; i++) {

        if (entries[i]->d_name[0] != '.') {
            len = asprintf(&name, "%s/%s", path, entries[i]->d_name);

            if (len < 0) {
                rc = 1;

            } else {
                rc |= replay_file(name);
                free(name);
                (*count)++;
            }
        }

        free(entries[i]);
    }

    free(entries);

    return rc;
}


int
main(int argc, char **argv)
{
    int       i, rc;
    unsigned  count;

    rc = 0;
    count = 0;

    for (i = 1; i < argc; i++) {
        rc |= replay_dir(argv[i], &count);
    }

    printf("%s: %u inputs replayed\n", argv[0], count);

    return rc != 0 || count == 0;
}
