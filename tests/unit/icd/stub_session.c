#define CL_TARGET_OPENCL_VERSION 300
#include "stub_session.h"

#include <CL/cl.h>
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct stub stub = {.features = PEN_FEATURE_DIRECT};

struct pen_session {
    struct pen_session *before; /* a lost one stays, for the objects that it had */
    bool lost;
    _Atomic int refs;
    _Atomic int32_t states[STUB_SLOTS];
    _Atomic uint64_t completed[PEN_LIMIT_QUEUES];
    bool queue_used[PEN_LIMIT_QUEUES], queue_gone[PEN_LIMIT_QUEUES];
    uint64_t queue_last[PEN_LIMIT_QUEUES]; /* of those that are gone: what they count yet */
    uint32_t next_slot;
    void *owners[STUB_SLOTS];
    uint32_t free_slots[STUB_SLOTS], free_count; /* given out again when there are no others */
    uint64_t next_id, next_sequence;
    uint64_t *frame; /* being encoded */
};

#define STUB_FEW 64u

static struct pen_session *open_session;
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t lock; /* recursive; of the session */
static pthread_mutex_t epoch_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t epoch_moved = PTHREAD_COND_INITIALIZER;
static uint32_t epoch; /* guarded by epoch_lock */

/* ---- the test's side ---- */

void stub_reset(void)
{
    for (uint32_t i = 0; i < stub.command_count; i++)
        free(stub.commands[i].frame);
    stub.command_count = 0;
    stub.acquired = stub.released = stub.cancelled = stub.drained = 0;
    stub.complete_at_once = false;
    stub.open_error = stub.slot_error = stub.partition_status = stub.arena_error = 0;
    stub.on_arena = stub.on_drain = stub.on_held = NULL;
    stub.few_slots = false;
    stub.quiet_within = 0;
}

const struct stub_command *stub_nth(uint16_t opcode, uint32_t number)
{
    const struct stub_command *found = NULL;
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < stub.command_count && !found; i++)
        if (stub.commands[i].opcode == opcode && number-- == 0)
            found = &stub.commands[i];
    pthread_mutex_unlock(&lock);
    return found;
}

const struct stub_command *stub_last(uint16_t opcode)
{
    for (uint32_t i = stub.command_count; i-- > 0;)
        if (stub.commands[i].opcode == opcode)
            return &stub.commands[i];
    return NULL;
}

uint32_t stub_count(uint16_t opcode)
{
    uint32_t count = 0;
    pthread_mutex_lock(&lock); /* the service thread may send */
    for (uint32_t i = 0; i < stub.command_count; i++)
        count += stub.commands[i].opcode == opcode;
    pthread_mutex_unlock(&lock);
    return count;
}

static void move_epoch(void)
{
    pthread_mutex_lock(&epoch_lock);
    epoch++;
    pthread_cond_broadcast(&epoch_moved);
    pthread_mutex_unlock(&epoch_lock);
}

void *stub_owner(uint32_t slot)
{
    pthread_mutex_lock(&slots_lock);
    void *owner = open_session->owners[slot];
    pthread_mutex_unlock(&slots_lock);
    return owner;
}

void stub_complete(uint32_t slot, int32_t state)
{
    atomic_store(&open_session->states[slot], state);
    move_epoch();
}

void stub_complete_queue(uint32_t queue_slot, uint64_t sequence)
{
    atomic_store(&open_session->completed[queue_slot], sequence);
    move_epoch();
}

/* ---- the pool: a CPU that can be parted, a GPU with little, a custom device; the first two have 2D images, also of
 * buffers, each with formats and rows of its own ---- */

static const cl_uint align_bits = 1024;
static const cl_bool yes = CL_TRUE;
static const char il[] = "SPIR-V_1.2", version[] = "OpenCL 3.0 stub";
static const size_t parameters = 4352;
static const cl_device_type type_cpu = CL_DEVICE_TYPE_CPU | CL_DEVICE_TYPE_DEFAULT;
static const cl_ulong memory = 8ull << 30, allocation = 16ull << 30, svm = CL_DEVICE_SVM_COARSE_GRAIN_BUFFER;
static const cl_uint vendor = 77, sub_devices = 4;
static const cl_device_partition_property ways[] = {CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN, CL_DEVICE_PARTITION_EQUALLY,
                                                    CL_DEVICE_PARTITION_BY_COUNTS};
static const char extensions[] = "cl_khr_fp64 cl_khr_gl_sharing  cl_khr_fp64 cl_khr_il_program cl_khr_fp64x ";
static const char few_extensions[] = "cl_khr_il_program cl_khr_fp16 cl_khr_priority_hints";
static const cl_name_version versions[] = {{CL_MAKE_VERSION(2, 1, 0), "cl_khr_il_program"}};
static const cl_name_version features[] = {{CL_MAKE_VERSION(3, 0, 0), "__opencl_c_images"},
                                           {CL_MAKE_VERSION(3, 0, 0), "__opencl_c_pipes"},
                                           {CL_MAKE_VERSION(3, 0, 0), "__opencl_c_device_enqueue"}};
static const cl_image_format formats[] = {{CL_RGBA, CL_UNORM_INT8}, {CL_sRGBA, CL_UNORM_INT8}};
static const cl_image_format other_formats[] = {{CL_R, CL_UNSIGNED_INT8}, {CL_RGBA, CL_UNORM_INT8}};
static const size_t image_extent = 1024;
static const cl_uint cpu_pitch = 4, gpu_pitch = 16; /* pixels */

#define VALUE(key_, value_)                                                                                            \
    {                                                                                                                  \
        .key = (key_), .size = sizeof(value_), .value = &(value_)                                                      \
    }
#define IMAGES(formats_, pitch_)                                                                                       \
    VALUE(0x70000000u + PEN_REGION_KIND_IMAGE2D, formats_), VALUE(CL_DEVICE_IMAGE_SUPPORT, yes),                       \
        VALUE(CL_DEVICE_IMAGE2D_MAX_WIDTH, image_extent), VALUE(CL_DEVICE_IMAGE2D_MAX_HEIGHT, image_extent),           \
        VALUE(CL_DEVICE_IMAGE_PITCH_ALIGNMENT, pitch_)
/* Not in order of key. */
static const struct pen_property cpu[] = {
    VALUE(0x70000000u, formats),
    VALUE(CL_DEVICE_SVM_CAPABILITIES, svm),
    VALUE(CL_DEVICE_GLOBAL_MEM_SIZE, memory),
    VALUE(CL_DEVICE_MAX_MEM_ALLOC_SIZE, allocation),
    VALUE(CL_DEVICE_TYPE, type_cpu),
    VALUE(CL_DEVICE_OPENCL_C_FEATURES, features),
    VALUE(CL_DEVICE_PARTITION_PROPERTIES, ways),
    VALUE(CL_DEVICE_PARTITION_MAX_SUB_DEVICES, sub_devices),
    VALUE(CL_DEVICE_VENDOR_ID, vendor),
    VALUE(CL_DEVICE_MEM_BASE_ADDR_ALIGN, align_bits),
    VALUE(CL_DEVICE_EXTENSIONS, extensions),
    VALUE(CL_DEVICE_COMPILER_AVAILABLE, yes),
    VALUE(CL_DEVICE_IL_VERSION, il),
    VALUE(CL_DEVICE_VERSION, version),
    VALUE(CL_DEVICE_MAX_PARAMETER_SIZE, parameters),
    VALUE(CL_DEVICE_EXTENSIONS_WITH_VERSION, versions),
    IMAGES(formats, cpu_pitch),
};
static const struct pen_property gpu[] = {
    VALUE(CL_DEVICE_EXTENSIONS, few_extensions),
    VALUE(CL_DEVICE_COMPILER_AVAILABLE, yes),
    VALUE(CL_DEVICE_IL_VERSION, il),
    VALUE(CL_DEVICE_GLOBAL_MEM_SIZE, memory),
    VALUE(CL_DEVICE_MAX_MEM_ALLOC_SIZE, allocation),
    VALUE(CL_DEVICE_MEM_BASE_ADDR_ALIGN, align_bits),
    IMAGES(other_formats, gpu_pitch),
};
static struct pen_pool_device pool[] = {
    {.info = {.device = 1, .class = PEN_DEVICE_CLASS_CPU, .flags = 3, .memory_bytes = 1 << 20, .compute_units = 4},
     .properties = cpu,
     .property_count = sizeof cpu / sizeof cpu[0]},
    {.info = {.device = 2, .class = PEN_DEVICE_CLASS_GPU, .flags = PEN_DEVICE_FLAG_ANY_SLICE, .compute_units = 1},
     .properties = gpu,
     .property_count = sizeof gpu / sizeof gpu[0]},
    {.info = {.device = 3, .class = PEN_DEVICE_CLASS_CUSTOM, .compute_units = 1}, .properties = gpu},
};

int pen_pools_query(struct pen_pools *out_pools, struct pen_error *error)
{
    static struct pen_pool only;
    const char *failure = getenv("STUB_POOL_ERROR");
    (void)error;
    stub.pool_queries++;
    only = (struct pen_pool){.name = "stub"};
    if (failure)
        only.status = pen_fail(&only.error, -atoi(failure), "the stub's daemon has its reasons");
    else if (getenv("STUB_NO_DAEMON"))
        only.status = pen_fail(&only.error, -PEN_ENOENT, "no daemon");
    else if (!getenv("STUB_NO_DEVICE"))
        only = (struct pen_pool){.name = "stub", .devices = pool, .device_count = 3};
    *out_pools = (struct pen_pools){.pools = &only, .count = 1};
    return 0;
}

bool pen_pool_there(const struct pen_pool *wanted)
{
    (void)wanted;
    return !stub.open_error;
}

void pen_pools_finish(struct pen_pools *out_pools)
{
    *out_pools = (struct pen_pools){0};
}

/* ---- life ---- */

int pen_session_handle_fork(void)
{
    return 0;
}

void pen_session_before_fork(void)
{
}

int pen_session_open(const struct pen_pool *wanted, struct pen_session **out_session, struct pen_error *error)
{
    (void)wanted;
    if (stub.open_error)
        return pen_fail(error, stub.open_error, "the stub will not");
    stub.opening = true;
    while (stub.open_slowly)
        usleep(1000);
    stub.opening = false;
    if (open_session)
        open_session->lost = true;
    else {
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
        pthread_mutex_init(&lock, &attributes);
    }
    struct pen_session *before = open_session;
    open_session = calloc(1, sizeof *open_session);
    assert(open_session);
    open_session->before = before;
    open_session->next_slot = 1;
    open_session->refs = 1;
    stub.lost = false;
    stub.opened++;
    *out_session = open_session;
    return 0;
}

void pen_session_ref(struct pen_session *session)
{
    session->refs++;
}

void pen_session_leave(struct pen_session *session)
{
    (void)session;
}

void pen_session_unref(struct pen_session *session)
{
    session->refs--;
}

int stub_refs(const struct pen_session *session)
{
    return session->refs;
}

void pen_session_close(struct pen_session *session)
{
    (void)session;
}

static bool lost(struct pen_session *session)
{
    return session->lost || stub.lost;
}

int pen_session_alive(struct pen_session *session)
{
    return lost(session) ? -PEN_EGONE : 0;
}

const char *pen_session_epitaph(struct pen_session *session)
{
    return lost(session) ? "the stub was told to die" : "";
}

uint32_t pen_session_features(const struct pen_session *session)
{
    (void)session;
    return stub.features;
}

uint64_t pen_session_new_id(struct pen_session *session)
{
    return 1000 + session->next_id++;
}

/* ---- completion ---- */

int pen_slot_acquire(struct pen_session *session, void *owner, uint32_t *out_slot)
{
    if (lost(session))
        return -PEN_EGONE;
    int rc = stub.slot_error;
    pthread_mutex_lock(&slots_lock);
    if (!rc && session->next_slot < STUB_SLOTS)
        *out_slot = session->next_slot++;
    else if (!rc && session->free_count)
        *out_slot = session->free_slots[--session->free_count];
    else
        rc = rc ? rc : -PEN_ELIMIT;
    if (!rc) {
        session->owners[*out_slot] = owner;
        atomic_store(&session->states[*out_slot], PEN_STATE_QUEUED);
        stub.acquired++;
    }
    pthread_mutex_unlock(&slots_lock);
    return rc;
}

bool pen_slots_few(struct pen_session *session)
{
    pthread_mutex_lock(&slots_lock);
    bool few = STUB_SLOTS - session->next_slot + session->free_count < STUB_FEW;
    pthread_mutex_unlock(&slots_lock);
    return few || stub.few_slots;
}

uint32_t pen_slots_complete(struct pen_session *session, uint32_t looks, bool (*hold)(void *owner), void **out_owners,
                            uint32_t room)
{
    uint32_t count = 0;
    (void)looks;
    pthread_mutex_lock(&slots_lock);
    for (uint32_t slot = 1; slot < session->next_slot && count < room; slot++)
        if (session->owners[slot] && session->states[slot] <= 0 && hold(session->owners[slot]))
            out_owners[count++] = session->owners[slot];
    pthread_mutex_unlock(&slots_lock);
    if (stub.on_held)
        stub.on_held();
    return count;
}

void pen_slot_release(struct pen_session *session, uint32_t slot)
{
    pthread_mutex_lock(&slots_lock);
    session->owners[slot] = NULL;
    if (session->states[slot] <= 0)
        session->free_slots[session->free_count++] = slot;
    stub.released++;
    pthread_mutex_unlock(&slots_lock);
}

void pen_slot_cancel(struct pen_session *session, uint32_t slot)
{
    (void)session, (void)slot;
    stub.cancelled++;
}

int32_t pen_slot_state(struct pen_session *session, uint32_t slot)
{
    int32_t state = atomic_load(&session->states[slot]);
    return state > 0 && lost(session) ? -PEN_EGONE : state;
}

struct pen_event_times pen_slot_times(struct pen_session *session, uint32_t slot)
{
    (void)session;
    return (struct pen_event_times){slot, slot + 1, slot + 2, slot + 3};
}

static void reap_queue_slots(struct pen_session *session)
{
    for (uint32_t i = 0; i < PEN_LIMIT_QUEUES; i++) {
        if (!session->queue_gone[i] || atomic_load(&session->completed[i]) < session->queue_last[i])
            continue;
        session->queue_used[i] = session->queue_gone[i] = false;
        stub.queue_slots--;
    }
}

int pen_queue_slot_acquire(struct pen_session *session, uint32_t *out_slot)
{
    if (lost(session))
        return -PEN_EGONE;
    reap_queue_slots(session);
    for (uint32_t i = 0; i < PEN_LIMIT_QUEUES; i++) {
        if (session->queue_used[i])
            continue;
        session->queue_used[i] = true;
        stub.queue_slots++;
        *out_slot = i;
        return 0;
    }
    return -PEN_ELIMIT;
}

void pen_queue_slot_release(struct pen_session *session, uint32_t slot, uint64_t last)
{
    assert(session->queue_used[slot] && !session->queue_gone[slot]);
    session->queue_gone[slot] = true;
    session->queue_last[slot] = last;
    reap_queue_slots(session);
}

uint64_t pen_queue_completed(struct pen_session *session, uint32_t queue_slot)
{
    return atomic_load(&session->completed[queue_slot]);
}

uint32_t pen_epoch(struct pen_session *session)
{
    (void)session;
    pthread_mutex_lock(&epoch_lock);
    uint32_t now = epoch;
    pthread_mutex_unlock(&epoch_lock);
    return now;
}

/* Without a limit: a test that should not wait hangs, and is killed. */
int pen_wait_epoch(struct pen_session *session, uint32_t seen_epoch, uint32_t timeout_ms)
{
    (void)timeout_ms;
    pthread_mutex_lock(&epoch_lock);
    while (epoch == seen_epoch && !lost(session))
        pthread_cond_wait(&epoch_moved, &epoch_lock);
    pthread_mutex_unlock(&epoch_lock);
    return pen_session_alive(session);
}

void pen_wake_epoch(struct pen_session *session)
{
    (void)session;
    move_epoch();
}

int pen_wait_slot(struct pen_session *session, uint32_t slot)
{
    for (;;) {
        uint32_t seen = pen_epoch(session);
        int32_t state = pen_slot_state(session, slot);
        if (state <= 0)
            return state;
        pen_wait_epoch(session, seen, 0);
    }
}

int pen_wait_queue(struct pen_session *session, uint32_t queue_slot, uint64_t sequence)
{
    for (;;) {
        uint32_t seen = pen_epoch(session);
        if (pen_queue_completed(session, queue_slot) >= sequence)
            return 0;
        if (lost(session))
            return -PEN_EGONE;
        pen_wait_epoch(session, seen, 0);
    }
}

void pen_session_drain_output(struct pen_session *session)
{
    (void)session;
    stub.drained++;
    if (stub.on_drain)
        stub.on_drain();
}

/* ---- commands ---- */

void pen_session_lock(struct pen_session *session)
{
    (void)session;
    pthread_mutex_lock(&lock);
    stub.lock_depth++;
}

void pen_session_unlock(struct pen_session *session)
{
    (void)session;
    stub.lock_depth--;
    pthread_mutex_unlock(&lock);
}

void pen_session_unlock_quietly(struct pen_session *session)
{
    stub.quiet_within += stub.lock_depth > 1;
    pen_session_unlock(session);
}

void *pen_session_begin(struct pen_session *session, size_t size, uint64_t *out_sequence, int *out_error)
{
    if (lost(session)) {
        *out_error = -PEN_EGONE;
        return NULL;
    }
    assert(size);
    pen_session_lock(session);
    assert(stub.command_count < STUB_COMMANDS);
    session->frame = calloc(1, size);
    assert(session->frame);
    *out_sequence = ++session->next_sequence;
    stub.commands[stub.command_count] = (struct stub_command){0, *out_sequence, session->frame, size};
    return session->frame;
}

/* A queue's slot is what its queue_create said. */
static uint32_t slot_of_queue(uint64_t queue)
{
    struct pen_scratch scratch = {0};
    struct pen_msg_queue_create create;
    for (uint32_t i = 0; i < stub.command_count; i++)
        if (stub.commands[i].opcode == PEN_OP_QUEUE_CREATE &&
            !pen_msg_queue_create_decode(stub.commands[i].frame, stub.commands[i].size, &scratch, &create) &&
            create.queue == queue)
            return create.slot;
    return 0;
}

static void complete(const struct stub_command *command)
{
    struct pen_scratch scratch = {0};
    struct pen_msg_marker marker;
    struct pen_msg_barrier barrier;
    if (command->opcode == PEN_OP_MARKER && !pen_msg_marker_decode(command->frame, command->size, &scratch, &marker)) {
        stub_complete_queue(slot_of_queue(marker.queue), command->sequence);
        stub_complete(marker.slot, 0);
    }
    if (command->opcode == PEN_OP_BARRIER &&
        !pen_msg_barrier_decode(command->frame, command->size, &scratch, &barrier)) {
        stub_complete_queue(slot_of_queue(barrier.queue), command->sequence);
        stub_complete(barrier.slot, 0);
    }
    pen_scratch_finish(&scratch);
}

void pen_session_commit(struct pen_session *session)
{
    struct stub_command *command = &stub.commands[stub.command_count++];
    struct pen_frame_header header;
    memcpy(&header, session->frame, sizeof header);
    command->opcode = header.opcode;
    if (stub.complete_at_once)
        complete(command);
    pen_session_unlock(session);
}

#define ANSWER(name_, opcode_, message_)                                                                               \
    do {                                                                                                               \
        *out_size = pen_msg_##name_##_size(message_);                                                                  \
        *out_frame = calloc(1, *out_size);                                                                             \
        assert(*out_frame);                                                                                            \
        pen_msg_##name_##_encode((message_), sequence, *out_frame);                                                    \
        *out_opcode = (opcode_);                                                                                       \
    } while (0)

/* Every build is a success, and an executable without kernels. */
static void answer_build(const struct stub_command *command, uint64_t sequence, uint16_t *out_opcode, void **out_frame,
                         size_t *out_size)
{
    struct pen_scratch scratch = {0};
    struct pen_msg_program_build build;
    struct pen_build_result results[PEN_LIMIT_DEVICES];
    int rc = pen_msg_program_build_decode(command->frame, command->size, &scratch, &build);
    assert(!rc);
    for (uint32_t i = 0; i < build.devices_count; i++)
        results[i] = (struct pen_build_result){
            .device = build.devices[i], .outcome = PEN_BUILD_OUTCOME_SUCCESS, .binary_type = 4};
    struct pen_msg_built built = {.results = results, .results_count = build.devices_count, .message = ""};
    ANSWER(built, PEN_OP_BUILT, &built);
    pen_scratch_finish(&scratch);
}

/* Only builds and partitions are asked for here. */
int pen_session_answer(struct pen_session *session, uint64_t sequence, uint16_t *out_opcode, void **out_frame,
                       size_t *out_size)
{
    if (lost(session))
        return -PEN_EGONE;
    const struct stub_command *asked = stub_last(PEN_OP_PROGRAM_BUILD);
    if (asked && asked->sequence == sequence) {
        answer_build(asked, sequence, out_opcode, out_frame, out_size);
        return 0;
    }
    struct pen_msg_device_partitioned answer = {.status = stub.partition_status};
    ANSWER(device_partitioned, PEN_OP_DEVICE_PARTITIONED, &answer);
    return 0;
}

int pen_session_answer_data(struct pen_session *session, uint64_t sequence, void **out_data, size_t *out_size)
{
    (void)session, (void)sequence, (void)out_data, (void)out_size;
    return -PEN_EGONE;
}

/* ---- the arena: given out from its begin again when it is at its end, whatever is in use ---- */

static _Alignas(4096) unsigned char arena[32 << 20];
static uint64_t arena_taken;

int pen_arena_alloc(struct pen_session *session, uint64_t size, uint64_t align, uint64_t *out_offset)
{
    (void)session;
    if (stub.on_arena)
        stub.on_arena();
    if (size > sizeof arena || stub.arena_error)
        return stub.arena_error ? stub.arena_error : -PEN_EDEVMEM;
    uint64_t offset = (arena_taken + align - 1) / align * align;
    if (offset + size > sizeof arena)
        offset = 0;
    arena_taken = offset + size;
    *out_offset = offset;
    return 0;
}

void pen_arena_free(struct pen_session *session, uint64_t offset)
{
    (void)session, (void)offset;
}

void pen_arena_free_after(struct pen_session *session, uint64_t offset, uint32_t slot)
{
    (void)session, (void)offset, (void)slot;
}

void pen_arena_will_fill(struct pen_session *session, uint64_t offset, uint64_t size)
{
    (void)session, (void)offset, (void)size;
}

void pen_arena_lend(struct pen_session *session, struct pen_loan *loan)
{
    (void)session, (void)loan;
}

void pen_arena_take_back(struct pen_session *session, struct pen_loan *loan)
{
    (void)session, (void)loan;
}

bool pen_session_has_delivered(struct pen_session *session)
{
    (void)session;
    return true;
}

void *pen_arena_at(struct pen_session *session, uint64_t offset)
{
    (void)session;
    return arena + offset;
}
