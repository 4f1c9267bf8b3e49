/*
 * The built-in skills: functions by name, and what they keep between calls.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MLT_ASSISTANT_SKILLS_H
#define MLT_ASSISTANT_SKILLS_H

#include "assistant/call.h"

/* X(NAME): the function mlt_skill_NAME carries out the manifest of that name. */
#define MLT_SKILL_LIST(X)                                                                                    \
    X(get_weather)                                                                                           \
    X(send_message)                                                                                          \
    X(make_call)                                                                                             \
    X(add_event)                                                                                             \
    X(list_events)                                                                                           \
    X(cancel_event)                                                                                          \
    X(set_timer)                                                                                             \
    X(cancel_timer)                                                                                          \
    X(pause_timer)                                                                                           \
    X(resume_timer)                                                                                          \
    X(change_timer)                                                                                          \
    X(timer_status)                                                                                          \
    X(calculate)                                                                                             \
    X(convert)                                                                                               \
    X(flip_coin)                                                                                             \
    X(roll_dice)                                                                                             \
    X(random_number)                                                                                         \
    X(spell)                                                                                                 \
    X(small_talk)                                                                                            \
    X(set_alarm)                                                                                             \
    X(cancel_alarm)                                                                                          \
    X(list_alarms)                                                                                           \
    X(set_reminder)                                                                                          \
    X(cancel_reminder)                                                                                       \
    X(list_reminders)                                                                                        \
    X(add_to_list)                                                                                           \
    X(remove_from_list)                                                                                      \
    X(check_off_list)                                                                                        \
    X(show_list)                                                                                             \
    X(clear_list)                                                                                            \
    X(show_lists)                                                                                            \
    X(take_note)                                                                                             \
    X(read_notes)                                                                                            \
    X(delete_note)                                                                                           \
    X(delete_notes)                                                                                          \
    X(get_time)                                                                                              \
    X(get_date)                                                                                              \
    X(never_mind)                                                                                            \
    X(repeat_that)                                                                                           \
    X(undo_that)                                                                                             \
    X(help)

#define MLT_SKILL_DECLARE(name) millet_skill_function_type mlt_skill_##name;
typedef millet_status millet_skill_function_type(millet_call *call, void *context, millet_error *err);
MLT_SKILL_LIST(MLT_SKILL_DECLARE)
#undef MLT_SKILL_DECLARE

/* NULL where there is none of that name. */
millet_skill_function mlt_skill_function(const char *name);

/* Opens and closes what skills keep: rates, the home. */
millet_status mlt_parts_open(millet_assistant *assistant, const millet_assistant_options *options,
                             millet_error *err);
void mlt_parts_close(millet_assistant *assistant);

#endif
