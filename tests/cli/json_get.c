/*
 * json_get PATH < JSON: prints the value at a path such as "tensors.0.name"; fails when the input is no JSON
 * or has no such value. For shell tests.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    json_error_t error;
    json_t *root = json_loadf(stdin, JSON_DECODE_ANY, &error), *value = root;
    if (!root) {
        fprintf(stderr, "line %d: %s\n", error.line, error.text);
        return 1;
    }
    for (char *key = argc > 1 ? strtok(argv[1], ".") : NULL; key && value; key = strtok(NULL, "."))
        value = json_is_array(value) ? json_array_get(value, (size_t)strtoul(key, NULL, 10))
                                     : json_object_get(value, key);
    if (!value) {
        fprintf(stderr, "there is no such value\n");
        json_decref(root);
        return 1;
    }
    if (json_is_string(value)) {
        puts(json_string_value(value));
    } else {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        puts(text ? text : "");
        free(text);
    }
    json_decref(root);
    return 0;
}
