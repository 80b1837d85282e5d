/* sched/code.c - see code.h. */
#include "sched/code.h"

#include <assert.h>

/* Of a new one's share in the average. */
#define LEARN 0.2f

uint64_t pen_code_expected_ns(const struct pen_code *code, const struct pen_code_runs *runs,
                              const struct pen_code_costs *costs)
{
    if (code && code->given)
        return 0;
    return (uint64_t)(runs && runs->loaded_ns ? costs->again.ns : costs->anew.ns);
}

void pen_code_give(struct pen_code *code)
{
    code->given = true;
}

static void note_cost(struct pen_code_cost *cost, uint64_t first_ns, uint64_t later_ns)
{
    float ns = first_ns > later_ns ? (float)(first_ns - later_ns) : 0;
    cost->ns = cost->known ? cost->ns + LEARN * (ns - cost->ns) : ns;
    cost->known = true;
}

/* One that began while another device had not ended its first had the same to wait for: it counts as that one. */
static void note_first(struct pen_code *code, struct pen_code_runs *runs, uint64_t items, uint64_t begun_ns,
                       uint64_t ended_ns)
{
    code->again = runs->loaded_ns && runs->loaded_ns <= begun_ns;
    code->first_ns = ended_ns - begun_ns;
    code->first_items = items;
    if (!runs->loaded_ns)
        runs->loaded_ns = ended_ns;
}

void pen_code_ran(struct pen_code *code, struct pen_code_runs *runs, struct pen_code_costs *costs, uint64_t items,
                  uint64_t begun_ns, uint64_t ended_ns)
{
    assert(ended_ns > begun_ns);
    uint64_t bit = UINT64_C(1) << pen_size_class(items), ran = code->ran;
    code->ran |= bit;
    if (!ran)
        note_first(code, runs, items, begun_ns, ended_ns);
    if (!(ran & bit)) { /* drivers compile for sizes, too */
        pen_estimate_note_first(&runs->estimate, items, ended_ns - begun_ns);
        return;
    }
    pen_estimate_note(&runs->estimate, items, ended_ns - begun_ns);
    if (!code->first_ns)
        return;
    note_cost(code->again ? &costs->again : &costs->anew, code->first_ns,
              pen_estimate_run(&runs->estimate, code->first_items));
    code->first_ns = 0;
}

void pen_code_ran_unseen(struct pen_code *code, struct pen_code_runs *runs, uint64_t items, uint64_t ended_ns)
{
    code->ran |= UINT64_C(1) << pen_size_class(items);
    if (!runs->loaded_ns)
        runs->loaded_ns = ended_ns;
}
