/* WordPiece. SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer/tokenizer_internal.h"

millet_status mlt_wordpiece_open(struct mlt_tokenizer *tokenizer, millet_error *err)
{
    (void)tokenizer;
    return mlt_fail(err, MILLET_UNSUPPORTED, "WordPiece tokenizers are not supported");
}

millet_status mlt_wordpiece_encode(struct mlt_tokenize_run *run, const char *text, size_t length,
                                   millet_error *err)
{
    (void)text;
    (void)length;
    return mlt_emit(run, run->tokenizer->unknown, err);
}
