/*
 * Floor 3, for ti_write*.c alone: where everything is in the command.
 */

#ifndef TI_WRITE_PRIVATE_H
#define TI_WRITE_PRIVATE_H

#include "ti_write.h"


#define TI_WRITE_NAME     3                 /* KEYS[1] */
#define TI_WRITE_BEFORE   4                 /* ARGV[1] */
#define TI_WRITE_CHANNEL  5
#define TI_WRITE_ENDS     6
#define TI_WRITE_PAIRS    7                 /* fields and values from here */


/* EVAL, the script, 1 */
void ti_write_eval(ti_str_t *argv);

/* the gen after this one; TI_DECLINED: there is none */
ti_rc_t ti_write_gen(ti_str_t before, uint64_t *gen);


#endif /* TI_WRITE_PRIVATE_H */
