/* An accelerator that is not there: a TFLite external delegate that does what it is told.
 *
 * It takes operators of a model as an accelerator's delegate does, and runs them with the engine's
 * own kernels, so that answers are right. What it does besides is told by its options:
 *
 *   does=WORD       ok, error, crash, hang, or `slow MS`; default ok
 *   switch=FILE     a file with such words instead, read at each step: trouble comes and goes
 *   in=STEP         where it does so: create, prepare or invoke; default everywhere
 *   after=N         forward passes of this process that go well before
 *   says=TEXT       its message where it refuses to be created, or fails; default none
 *   takes=N         how many operators it takes, from the first: all, none or a number; default all
 *   computes=WHAT   right, or nothing: then what it hands on is zeros
 *
 * The declarations are those of TensorFlow Lite's tensorflow/lite/core/c/common.h as far as they
 * are needed, and tflite_plugin_create_delegate is described in its
 * tensorflow/lite/delegates/external/external_delegate.h (Apache-2.0). The layout has been the
 * same from TensorFlow 2.14 to LiteRT 2; registrations have grown at their end.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum { kTfLiteOk = 0, kTfLiteError = 1 } TfLiteStatus;

typedef struct {
  int size;
  int data[];
} TfLiteIntArray;

typedef struct TfLiteContext TfLiteContext;
typedef struct TfLiteDelegate TfLiteDelegate;

typedef struct {
  int type;
  void *data;
  TfLiteIntArray *dims;
  struct {
    float scale;
    int32_t zero_point;
  } params;
  int allocation_type;
  size_t bytes;
  const void *allocation;
  const char *name;
  TfLiteDelegate *delegate;
  int buffer_handle;
  bool data_is_stale, is_variable;
  struct {
    int type;
    void *params;
  } quantization;
  void *sparsity;
  const TfLiteIntArray *dims_signature;
} TfLiteTensor;

typedef struct {
  TfLiteIntArray *inputs, *outputs, *intermediates, *temporaries;
  void *user_data, *builtin_data;
  const void *custom_initial_data;
  int custom_initial_data_size;
  TfLiteDelegate *delegate;
  bool might_have_side_effect;
} TfLiteNode;

typedef struct {
  void *(*init)(TfLiteContext *, const char *, size_t);
  void (*free)(TfLiteContext *, void *);
  TfLiteStatus (*prepare)(TfLiteContext *, TfLiteNode *);
  TfLiteStatus (*invoke)(TfLiteContext *, TfLiteNode *);
  const char *(*profiling_string)(const TfLiteContext *, const TfLiteNode *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *registration_external, *async_kernel;
  uint64_t inplace_operator;
} TfLiteRegistration;

struct TfLiteContext {
  size_t tensors_size;
  TfLiteStatus (*GetExecutionPlan)(TfLiteContext *, TfLiteIntArray **);
  TfLiteTensor *tensors;
  void *impl_, *ResizeTensor;
  void (*ReportError)(TfLiteContext *, const char *, ...);
  void *AddTensors;
  TfLiteStatus (*GetNodeAndRegistration)(TfLiteContext *, int, TfLiteNode **,
                                         TfLiteRegistration **);
  TfLiteStatus (*ReplaceNodeSubsetsWithDelegateKernels)(TfLiteContext *, TfLiteRegistration,
                                                        const TfLiteIntArray *, TfLiteDelegate *);
  /* and more */
};

struct TfLiteDelegate {
  void *data_;
  TfLiteStatus (*Prepare)(TfLiteContext *, TfLiteDelegate *);
  void *CopyFromBufferHandle, *CopyToBufferHandle, *FreeBufferHandle;
  int64_t flags;
  void *opaque_delegate_builder;
};

typedef struct {
  TfLiteDelegate *delegate;
  TfLiteIntArray *nodes_to_replace, *input_tensors, *output_tensors;
} TfLiteDelegateParams;

typedef struct {
  char does[64], path[4096], in[16], says[256];
  long after, takes; /* takes < 0: all */
  bool computes;
} Options;

/* The operators that one node of ours stands for. The nodes are copies: their temporary tensors
 * are ours, all else belongs to the originals. */
typedef struct {
  const Options *options;
  int count;
  TfLiteNode *nodes;
  TfLiteRegistration *registrations;
  TfLiteIntArray *outputs; /* of all, those handed on and those read inside only */
} Group;

static long passes;

/* Do what is told for a step; false where it shall fail. */
static bool go_well(const Options *options, const char *step) {
  char words[64];
  int ms = 0;
  snprintf(words, sizeof words, "%s", options->does);
  if (options->path[0]) {
    FILE *file = fopen(options->path, "r");
    if (!file || !fgets(words, sizeof words, file)) snprintf(words, sizeof words, "ok");
    if (file) fclose(file);
  }
  if (options->in[0] && strcmp(options->in, step)) return true;
  if (!strcmp(step, "invoke") && passes++ < options->after) return true;
  if (!strncmp(words, "crash", 5)) *(volatile int *)0 = 0;
  while (!strncmp(words, "hang", 4)) pause();
  if (sscanf(words, "slow %d", &ms) == 1) usleep(1000 * ms);
  return strncmp(words, "error", 5);
}

static void fail(TfLiteContext *context, const Options *options) {
  if (options->says[0]) context->ReportError(context, "%s", options->says);
}

static bool holds(const TfLiteIntArray *tensors, int tensor) {
  for (int at = 0; at < tensors->size; at++)
    if (tensors->data[at] == tensor) return true;
  return false;
}

static TfLiteIntArray *array_of(int size) {
  TfLiteIntArray *array = malloc(sizeof(TfLiteIntArray) + size * sizeof(int));
  array->size = 0;
  return array;
}

static void *init(TfLiteContext *context, const char *buffer, size_t length) {
  const TfLiteDelegateParams *params = (const void *)buffer;
  const TfLiteIntArray *taken = params->nodes_to_replace;
  Group *group = calloc(1, sizeof(Group));
  int outputs = 0;
  (void)length;
  group->options = params->delegate->data_;
  group->count = taken->size;
  group->nodes = calloc(taken->size, sizeof(TfLiteNode));
  group->registrations = calloc(taken->size, sizeof(TfLiteRegistration));
  for (int at = 0; at < taken->size; at++) {
    TfLiteNode *node;
    TfLiteRegistration *registration;
    if (context->GetNodeAndRegistration(context, taken->data[at], &node, &registration)) abort();
    group->nodes[at] = *node;
    group->nodes[at].temporaries = array_of(0);
    /* An engine's own registration may end before ours does. */
    memcpy(&group->registrations[at], registration, offsetof(TfLiteRegistration, builtin_code));
    outputs += node->outputs->size;
  }
  group->outputs = array_of(outputs);
  for (int at = 0; at < taken->size; at++)
    for (int output = 0; output < group->nodes[at].outputs->size; output++)
      group->outputs->data[group->outputs->size++] = group->nodes[at].outputs->data[output];
  return group;
}

static void release(TfLiteContext *context, void *data) {
  Group *group = data;
  (void)context;
  for (int at = 0; at < group->count; at++) free(group->nodes[at].temporaries);
  free(group->nodes);
  free(group->registrations);
  free(group->outputs);
  free(group);
}

/* Prepare the operators, and have memory planned for what only they know of. */
static TfLiteStatus prepare(TfLiteContext *context, TfLiteNode *node) {
  const Group *group = node->user_data;
  int room = group->outputs->size;
  if (!group->options->computes) return kTfLiteOk;
  for (int at = 0; at < group->count; at++) {
    if (group->registrations[at].prepare &&
        group->registrations[at].prepare(context, &group->nodes[at]))
      return kTfLiteError;
    room += group->nodes[at].temporaries->size;
  }
  free(node->temporaries);
  node->temporaries = array_of(room);
  for (int at = 0; at < group->outputs->size; at++)
    if (!holds(node->outputs, group->outputs->data[at]))
      node->temporaries->data[node->temporaries->size++] = group->outputs->data[at];
  for (int at = 0; at < group->count; at++)
    for (int own = 0; own < group->nodes[at].temporaries->size; own++)
      if (!holds(node->temporaries, group->nodes[at].temporaries->data[own]))
        node->temporaries->data[node->temporaries->size++] =
            group->nodes[at].temporaries->data[own];
  return kTfLiteOk;
}

static TfLiteStatus invoke(TfLiteContext *context, TfLiteNode *node) {
  const Group *group = node->user_data;
  if (!go_well(group->options, "invoke")) {
    fail(context, group->options);
    return kTfLiteError;
  }
  for (int at = 0; at < node->outputs->size && !group->options->computes; at++) {
    TfLiteTensor *output = &context->tensors[node->outputs->data[at]];
    memset(output->data, 0, output->bytes);
  }
  for (int at = 0; at < group->count && group->options->computes; at++)
    if (group->registrations[at].invoke(context, &group->nodes[at])) return kTfLiteError;
  return kTfLiteOk;
}

static TfLiteStatus take(TfLiteContext *context, TfLiteDelegate *delegate) {
  const Options *options = delegate->data_;
  const TfLiteRegistration ours = {init, release, prepare, invoke, .custom_name = "Trial",
                                   .version = 1};
  TfLiteIntArray *plan, *taken;
  TfLiteStatus status;
  if (!go_well(options, "prepare")) {
    fail(context, options);
    return kTfLiteError;
  }
  if (context->GetExecutionPlan(context, &plan)) return kTfLiteError;
  taken = array_of(plan->size);
  for (int at = 0; at < plan->size && (options->takes < 0 || at < options->takes); at++)
    taken->data[taken->size++] = plan->data[at];
  status = context->ReplaceNodeSubsetsWithDelegateKernels(context, ours, taken, delegate);
  free(taken);
  return status;
}

TfLiteDelegate *tflite_plugin_create_delegate(const char *const *keys, const char *const *values,
                                              size_t count, void (*report)(const char *)) {
  Options *options = calloc(1, sizeof(Options));
  TfLiteDelegate *delegate;
  strcpy(options->does, "ok");
  options->takes = -1;
  options->computes = true;
  for (size_t at = 0; at < count; at++) {
    const char *key = keys[at], *value = values[at];
    if (!strcmp(key, "does")) snprintf(options->does, sizeof options->does, "%s", value);
    else if (!strcmp(key, "switch")) snprintf(options->path, sizeof options->path, "%s", value);
    else if (!strcmp(key, "in")) snprintf(options->in, sizeof options->in, "%s", value);
    else if (!strcmp(key, "says")) snprintf(options->says, sizeof options->says, "%s", value);
    else if (!strcmp(key, "after")) options->after = atol(value);
    else if (!strcmp(key, "takes")) options->takes = strcmp(value, "all") ? atol(value) : -1;
    else if (!strcmp(key, "computes")) options->computes = !strcmp(value, "right");
    else {
      char text[128];
      snprintf(text, sizeof text, "the trial delegate knows no option %.64s", key);
      report(text);
      free(options);
      return NULL;
    }
  }
  if (!go_well(options, "create")) {
    if (options->says[0]) report(options->says);
    free(options);
    return NULL;
  }
  delegate = calloc(1, sizeof(TfLiteDelegate));
  delegate->data_ = options;
  delegate->Prepare = take;
  /* kTfLiteDelegateFlagsAllowDynamicTensors: without it the engine prepares the operators itself
   * before they are taken, and the memory of their temporary tensors is lost. */
  delegate->flags = 1;
  return delegate;
}

void tflite_plugin_destroy_delegate(TfLiteDelegate *delegate) {
  if (delegate) free(delegate->data_); /* the engines destroy what they were refused, too */
  free(delegate);
}
