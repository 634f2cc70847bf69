/*
 * Entries as text: the formats that load reads and that dump and scan write, one struct for each.
 * peat-text(5) describes them.
 */
#ifndef PEAT_TOOLS_ENTRY_TEXT_H
#define PEAT_TOOLS_ENTRY_TEXT_H

#include "tools/source.h"

enum { PT_READER_WORDS_MAX = 240 };

/* What reading one record came to. */
enum pt_read {
    PT_READ_ENTRY,      /* path, key and value are set */
    PT_READ_COLLECTION, /* path is set: the collection exists, with entries to follow or not */
    PT_READ_END,
    PT_READ_BAD,   /* line and words are set; the bad record was taken, the next can be read */
    PT_READ_BROKEN /* the same, but reading cannot go on */
};

/* Owned by one thread. */
struct pt_entry_reader {
    struct pt_source source;
    const struct pt_text_format *format; /* NULL while not known */
    struct pt_textbuf path;              /* of the collection, see collection_path.h */
    struct pt_textbuf key;
    struct pt_textbuf value;
    struct pt_textbuf scratch;       /* the format's own */
    struct pt_textbuf last;          /* dump format: the key before, where keys may repeat */
    uint64_t line;                   /* of the record, or where it is bad */
    bool in_section;                 /* dump format: between HEADER=END and DATA=END */
    bool is_print;                   /* dump format: format=print */
    bool may_repeat;                 /* dump format: duplicates=1 */
    bool has_last;                   /* dump format: last is set */
    char words[PT_READER_WORDS_MAX]; /* what is bad */
};

struct pt_entry_writer {
    const struct pt_text_format *format;
    struct peat_bytes path; /* of the collection that is being written */
    uint64_t mapsize;       /* dump format: bytes that an LMDB environment for it may need */
    bool is_print;          /* dump format: readable bytes as they are */
    bool keys_only;
};

struct pt_text_format {
    const char *name;
    /* Whether text that starts with this line is in the format. */
    bool (*recognize)(struct peat_bytes first_line);
    /* NULL: the format is for writing only. */
    enum pt_read (*read)(struct pt_entry_reader *reader);
    /* Before a collection's entries, each entry, after them: written to standard output. write
     * NULL: the format is for reading only; begin, end NULL: nothing comes before or after. */
    void (*begin)(const struct pt_entry_writer *writer);
    void (*write)(const struct pt_entry_writer *writer, struct peat_bytes key,
                  struct peat_bytes value);
    void (*end)(const struct pt_entry_writer *writer);
};

extern const struct pt_text_format pt_text_tsv;
extern const struct pt_text_format pt_text_hex;
extern const struct pt_text_format pt_text_json;
extern const struct pt_text_format pt_text_dump;
extern const struct pt_text_format pt_text_deb822;

/* The format of that name; NULL: there is none. */
const struct pt_text_format *pt_text_format_find(const char *name);

/* Start to read @p name ("-": standard input) in @p format, NULL: the one it turns out to be in.
 * False: it cannot be opened, with errno set. Release with pt_entry_reader_close() either way. */
bool pt_entry_reader_open(struct pt_entry_reader *reader, const char *name,
                          const struct pt_text_format *format);
void pt_entry_reader_close(struct pt_entry_reader *reader);

enum pt_read pt_entry_reader_next(struct pt_entry_reader *reader);

/* Say what is bad about the record; gives false, for the formats' own functions to pass on. */
bool pt_entry_reader_bad(struct pt_entry_reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold));

#endif
