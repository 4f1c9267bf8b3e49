/*
 * The pre-tokenisers that GGUF files name in tokenizer.ggml.pre.
 *
 * The patterns are those of the models' own tokenizer.json files, written for PCRE2. Where another engine's
 * syntax or cost made a change necessary, the comment says so; the effect is the same.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tokenizer/pretokenizer.h"

/* English contractions, in any case or in lower case only. */
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LOWER_CONTRACTION "'s|'t|'re|'ve|'m|'ll|'d"
/* White space: all but the last before a word, and line ends with what is before them. */
#define SPACES "\\s+(?!\\S)|\\s+"
#define LINES "\\s*[\\r\\n]+"
#define WORD "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define SYMBOLS " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
/* A word in the o200k manner: cut where a lower-case letter is followed by a capital. */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED_WORD(end)                                                                                      \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" end "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" end

#define GPT2 LOWER_CONTRACTION "| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|" SPACES
#define LLAMA3 CONTRACTION "|" WORD "|\\p{N}{1,3}|" SYMBOLS "|" LINES "|" SPACES
#define QWEN2 CONTRACTION "|" WORD "|\\p{N}|" SYMBOLS "|" LINES "|" SPACES
#define O200K CASED_WORD(CONTRACTION "?") "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" LINES "|" SPACES
#define ASCII_PUNCTUATION "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]"
#define DEEPSEEK3                                                                                            \
    ASCII_PUNCTUATION                                                                                        \
    "[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" LINES "|" SPACES
#define NOT_BLOOM_SPLIT " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{964}\\x{6D4}\\x{60C})]+"

/* Kimi's word has its letters outside the Han script; the class says so by what it excludes. */
#define KIMI_UPPER "[^\\p{sc:Han}\\p{Ll}\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}]"
#define KIMI_LOWER "[^\\p{sc:Han}\\p{Lu}\\p{Lt}\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}]"

#define STAGES(name, ...) static const struct mlt_stage_source name[] = {__VA_ARGS__, {MLT_STAGE_NONE, NULL}}
#define SPLIT(pattern)                                                                                       \
    {                                                                                                        \
        MLT_STAGE_PATTERN, pattern                                                                           \
    }
#define TRIPLES(pattern)                                                                                     \
    {                                                                                                        \
        MLT_STAGE_TRIPLES, pattern                                                                           \
    }

STAGES(gpt2, SPLIT(GPT2));
STAGES(llama3, SPLIT(LLAMA3));
STAGES(qwen2, SPLIT(QWEN2));
STAGES(qwen35,
       SPLIT(CONTRACTION
             "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" LINES
             "|" SPACES));
/* Each digit alone, then as GPT-2. */
STAGES(starcoder, SPLIT("\\p{N}"), SPLIT(GPT2));
STAGES(falcon, SPLIT("[\\p{P}$+<=>^~|`]+"), SPLIT(GPT2), SPLIT("[0-9][0-9][0-9]"));
/* Files that name no pre-tokeniser are taken as the first converters meant them. */
STAGES(unnamed, SPLIT("[\\p{P}$+<=>^~|]+"), SPLIT(GPT2), SPLIT("\\p{N}+"), SPLIT("[0-9][0-9][0-9]"));
/*
 * The second stage lists the letters that have case. (?<!\s) and \z, for the \s+$ of the file, keep the
 * search from starting again at every space of a run.
 */
STAGES(deepseek_llm, SPLIT("[\\r\\n]"),
       SPLIT("\\s?["
             "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}"
             "\\x{1C4}-\\x{293}\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}"
             "\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}"
             "\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}"
             "\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}"
             "\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}"
             "\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}"
             "\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}"
             "\\x{1FBE}\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}"
             "\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}"
             "\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}\\x{2126}"
             "\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}"
             "\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}"
             "\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}"
             "\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}"
             "\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}"
             "\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}"
             "\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}"
             "]+"),
       SPLIT("\\s?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+"),
       SPLIT("(?<!\\s)\\s+\\z"), SPLIT("[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"),
       SPLIT("\\p{N}"));
STAGES(deepseek_coder, SPLIT("[\\r\\n]"), SPLIT("\\s?\\p{L}+"), SPLIT("\\s?\\p{P}+"),
       SPLIT("[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"), SPLIT("\\p{N}"));
STAGES(deepseek3, SPLIT("\\p{N}{1,3}"), SPLIT("[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+"),
       SPLIT(DEEPSEEK3));
STAGES(youtu,
       SPLIT("[\\x{AC00}-\\x{D7A3}\\x{3131}-\\x{318E}]+|[\\x{FF01}\\x{2026}\\x{201C}\\x{201D}\\x{2018}\\x{"
             "2019}\\x{2014}\\x{FF1A}\\x{FF1B}\\x{FF0C}\\x{3001}-\\x{303F}\\x{FE30}-\\x{FE4F}]+|[\\x{3105}-"
             "\\x{312F}]+|[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+"),
       SPLIT(CASED_WORD(CONTRACTION "?") "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" LINES "|" SPACES));
STAGES(jais2,
       SPLIT(CONTRACTION "|" WORD "|\\p{N}{1,3}|" SYMBOLS "|" LINES
                         "|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)|\\s{32}(?!\\S)|"
                         "\\s{16}(?!\\S)|\\s{8}(?!\\S)|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}"));
STAGES(bloom, SPLIT(NOT_BLOOM_SPLIT));
STAGES(viking, SPLIT(NOT_BLOOM_SPLIT), SPLIT("\\p{N}"));
STAGES(tekken, SPLIT(CASED_WORD("") "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" LINES "|" SPACES));
STAGES(o200k, SPLIT(O200K));
/* \d{1,3}(?=(?:\d{3})*\b) of the file, without looking ahead over the whole number from each of its digits.
 */
STAGES(tiny_aya, TRIPLES("(?<!\\d)\\d++(?!\\w)"), SPLIT(O200K));
STAGES(chameleon, SPLIT("<sentinel:[0-9]+>"), SPLIT("(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z"),
       SPLIT("([\\t\\n]|    |  )"), SPLIT("\\p{N}"), SPLIT("[\\p{P}!-/:-@\\[-`{-~]"), SPLIT(GPT2));
STAGES(kimi, SPLIT("\\p{sc:Han}+|[^\\r\\n\\p{L}\\p{N}]?" KIMI_UPPER "*" KIMI_LOWER "+" CONTRACTION
                   "?|[^\\r\\n\\p{L}\\p{N}]?" KIMI_UPPER "+" KIMI_LOWER "*" CONTRACTION
                   "?|\\p{N}{1,3}|" SYMBOLS "|" LINES "|" SPACES));
/* (?=(\d{3})+(?!\d)) of the file, after \p{N}+. */
STAGES(superbpe, SPLIT("\\p{N}+"), TRIPLES("\\d+"));
STAGES(bailing,
       SPLIT("'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|"
             "\\s*[\\r\\n]|" SPACES));
STAGES(seed_coder, SPLIT(CONTRACTION "|" WORD "|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" LINES "|" SPACES));
STAGES(
    afmoe, TRIPLES("\\p{N}+"),
    SPLIT("[\\x{4E00}-\\x{9FFF}\\x{3400}-\\x{4DBF}\\x{F900}-\\x{FAFF}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}"
          "\\x{FF65}-\\x{FF9F}\\x{2F00}-\\x{2FDF}\\x{E40}-\\x{E7F}\\x{E80}-\\x{EFF}\\x{1780}-\\x{17FF}\\x{"
          "1000}-\\x{109F}\\x{AA60}-\\x{AA7F}\\x{A9E0}-\\x{A9FF}\\x{AC00}-\\x{D7AF}\\x{1100}-\\x{11FF}]+"),
    SPLIT(DEEPSEEK3));
/* Possessive, as a match may be a whole page of words and nothing follows that could ask for a shorter one.
 */
STAGES(exaone_moe,
       SPLIT(CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*+(?: \\p{L}\\p{M}*+)*+)++|\\p{N}| "
                         "?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|" SPACES));
STAGES(gemma4, SPLIT("[^\\n]+|\\n+"));

#define PLAIN                                                                                                \
    {                                                                                                        \
        0                                                                                                    \
    }
#define WHOLE_WORDS_AND_BOS                                                                                  \
    {                                                                                                        \
        .ignore_merges = true, .add_bos = true                                                               \
    }

const struct mlt_pretokenizer_source mlt_pretokenizer_sources[] = {
    {"default", unnamed, PLAIN},
    {"llama3", llama3, WHOLE_WORDS_AND_BOS},
    {"llama-v3", llama3, WHOLE_WORDS_AND_BOS},
    {"llama-bpe", llama3, WHOLE_WORDS_AND_BOS},
    {"falcon3", llama3, WHOLE_WORDS_AND_BOS},
    {"falcon-h1", llama3, WHOLE_WORDS_AND_BOS},
    {"pixtral", llama3, WHOLE_WORDS_AND_BOS},
    {"midm-2.0", llama3, WHOLE_WORDS_AND_BOS},
    {"lfm2", llama3, WHOLE_WORDS_AND_BOS},
    {"jina-v5-nano", llama3, WHOLE_WORDS_AND_BOS},
    {"laguna", llama3, WHOLE_WORDS_AND_BOS},
    {"dbrx", llama3, PLAIN},
    {"smaug-bpe", llama3, PLAIN},
    {"glm4", llama3, {.no_default_bos = true}},
    {"chatglm-bpe", llama3, {.no_default_bos = true}},
    {"jais-2", jais2, PLAIN},
    {"deepseek-llm", deepseek_llm, PLAIN},
    {"deepseek-coder", deepseek_coder, PLAIN},
    {"deepseek-v3", deepseek3, PLAIN},
    {"hunyuan-dense", deepseek3, PLAIN},
    {"joyai-llm", deepseek3, PLAIN},
    {"youtu", youtu, {.ignore_merges = true}},
    {"falcon", falcon, PLAIN},
    {"starcoder", starcoder, PLAIN},
    {"refact", starcoder, PLAIN},
    {"command-r", starcoder, PLAIN},
    {"cohere2_moe", starcoder, PLAIN},
    {"smollm", starcoder, PLAIN},
    {"codeshell", starcoder, PLAIN},
    {"exaone", starcoder, PLAIN},
    {"minerva-7b", starcoder, PLAIN},
    {"mellum2", starcoder, PLAIN},
    {"gpt-2", gpt2, PLAIN},
    {"phi-2", gpt2, PLAIN},
    {"mpt", gpt2, PLAIN},
    {"olmo", gpt2, PLAIN},
    {"jais", gpt2, PLAIN},
    {"trillion", gpt2, PLAIN},
    {"granite-docling", gpt2, PLAIN},
    {"exaone4", gpt2, PLAIN},
    {"jina-es", gpt2, PLAIN},
    {"jina-de", gpt2, PLAIN},
    {"jina-v1-en", gpt2, PLAIN},
    {"jina-v2-es", gpt2, PLAIN},
    {"jina-v2-de", gpt2, PLAIN},
    {"jina-v2-code", gpt2, PLAIN},
    {"roberta-bpe", gpt2, PLAIN},
    {"gigachat", gpt2, PLAIN},
    {"a.x-4.0", gpt2, PLAIN},
    {"mellum", gpt2, PLAIN},
    {"modern-bert", gpt2, PLAIN},
    {"qwen2", qwen2, PLAIN},
    {"deepseek-r1-qwen", qwen2, PLAIN},
    {"stablelm2", qwen2, PLAIN},
    {"hunyuan", qwen2, PLAIN},
    {"solar-open", qwen2, PLAIN},
    {"megrez", qwen2, PLAIN},
    {"grok-2", qwen2, PLAIN},
    {"kormo", qwen2, PLAIN},
    {"openpangu", qwen2, PLAIN},
    {"f2llmv2", qwen2, PLAIN},
    {"qwen35", qwen35, PLAIN},
    {"poro-chat", bloom, PLAIN},
    {"bloom", bloom, PLAIN},
    {"gpt3-finnish", bloom, PLAIN},
    {"viking", viking, PLAIN},
    {"tekken", tekken, WHOLE_WORDS_AND_BOS},
    {"gpt-4o", o200k, PLAIN},
    {"llama4", o200k, PLAIN},
    {"kanana2", o200k, PLAIN},
    {"minimax-m2", o200k, PLAIN},
    {"tiny_aya", tiny_aya, PLAIN},
    {"chameleon", chameleon, {.add_bos = true}},
    {"kimi-k2", kimi, PLAIN},
    {"superbpe", superbpe, PLAIN},
    {"bailingmoe", bailing, PLAIN},
    {"bailingmoe2", bailing, PLAIN},
    {"llada-moe", bailing, PLAIN},
    {"seed-coder", seed_coder, PLAIN},
    {"afmoe", afmoe, PLAIN},
    {"exaone-moe", exaone_moe, PLAIN},
    {"gemma4", gemma4, {.always_bos = true, .raw_text = true}},
};
const size_t mlt_pretokenizer_source_count = MLT_COUNT(mlt_pretokenizer_sources);
