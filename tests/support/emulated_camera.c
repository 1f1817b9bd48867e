/* A V4L2 camera that is not there, for the tests: preloaded, it answers what OpenCV asks of one
 * path as a driver would, and leaves every other file alone.
 *
 * $EMULATED_CAMERA is the path. An ordinary file lies there and says what the camera is, in words:
 *
 *     frames=FOLDER format=MJPG width=1280 height=720 fps=30 delay_ms=5 stamps=driver
 *     driver=emulated
 *
 * Frames are the folder's files by name, round and round. The camera has this one format, size and
 * rate: whatever it is asked for, it answers that, as drivers do. A frame is there `delay_ms` after
 * its stamp. `stamps=none` leaves the stamps 0. The camera is unplugged when the file is deleted
 * and is another one when it is made anew. Beside it, PATH.stall holds frames back for as long as
 * it is there, PATH.half cuts each frame in two and PATH.zeros empties it.
 *
 * There is no thread: what a driver would have done by now is made up whenever somebody asks. A
 * frame that finds no buffer queued is dropped.
 *
 * Source of the protocol: Linux Media Subsystem Documentation, "Streaming I/O (Memory Mapping)".
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MOST_BUFFERS 16
#define MOST_FRAMES 1024
#define NAP_NS 5000000LL /* how long a change of the files may go unseen */

struct frame {
    char *data;
    size_t length;
};
struct buffer {
    char *start;
    struct v4l2_buffer told;
};
struct queue { /* indices of buffers, the oldest first */
    int count, of[MOST_BUFFERS];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int camera = -1; /* the one file descriptor that is a camera */
static char path[4096], folder[4096], fourcc[5], stamps[16], driver[16];
static int width, height, fps, delay_ms;
static struct frame frames[MOST_FRAMES];
static int frame_count;
static struct buffer buffers[MOST_BUFFERS];
static int buffer_count, streaming;
static struct queue queued, done;
static long long began_ns, next; /* of the stream; the sequence number that comes next */

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static long long now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int answer(int error)
{
    errno = error;
    return error ? -1 : 0;
}

static void push(struct queue *queue, int index)
{
    queue->of[queue->count++] = index;
}

static int pop(struct queue *queue)
{
    int index = queue->of[0];
    memmove(queue->of, queue->of + 1, --queue->count * sizeof(int));
    return index;
}

static int beside(const char *suffix)
{
    char name[sizeof path + 16];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return access(name, F_OK) == 0;
}

static int unplugged(void)
{
    struct stat then, now;
    return fstat(camera, &then) || stat(path, &now) || then.st_ino != now.st_ino;
}

static long long stamp_ns(long long sequence)
{
    return began_ns + sequence * 1000000000LL / fps;
}

static long long there_ns(long long sequence)
{
    return stamp_ns(sequence) + delay_ms * 1000000LL;
}

static void fill(struct buffer *buffer)
{
    struct frame *frame = &frames[next % frame_count];
    long long taken_ns = strcmp(stamps, "none") ? stamp_ns(next) : 0;
    memcpy(buffer->start, frame->data, frame->length);
    buffer->told.bytesused = frame->length;
    if (beside(".half"))
        buffer->told.bytesused /= 2;
    if (beside(".zeros"))
        memset(buffer->start, 0, frame->length);
    buffer->told.timestamp.tv_sec = taken_ns / 1000000000LL;
    buffer->told.timestamp.tv_usec = taken_ns % 1000000000LL / 1000;
    buffer->told.sequence = next;
    buffer->told.flags = V4L2_BUF_FLAG_DONE | V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
}

/* Do what the driver has done since somebody asked last. */
static void catch_up(void)
{
    int stalled = beside(".stall");
    for (; streaming && there_ns(next) <= now_ns(); next++) {
        if (!stalled && queued.count) {
            int index = pop(&queued);
            fill(&buffers[index]);
            push(&done, index);
        }
    }
}

static void set_format(struct v4l2_pix_format *pix)
{
    memset(pix, 0, sizeof *pix);
    pix->width = width;
    pix->height = height;
    pix->pixelformat = v4l2_fourcc(fourcc[0], fourcc[1], fourcc[2], fourcc[3]);
    pix->field = V4L2_FIELD_NONE;
    pix->bytesperline = strcmp(fourcc, "MJPG") ? 2 * width : 0;
    pix->sizeimage = 2 * width * height;
}

static int request_buffers(struct v4l2_requestbuffers *request)
{
    if (streaming)
        return answer(EBUSY);
    if (request->count > MOST_BUFFERS)
        request->count = MOST_BUFFERS;
    buffer_count = request->count;
    queued.count = done.count = 0;
    for (int index = 0; index < buffer_count; index++) {
        struct v4l2_buffer *told = &buffers[index].told;
        memset(&buffers[index], 0, sizeof buffers[index]);
        told->index = index;
        told->type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        told->memory = V4L2_MEMORY_MMAP;
        told->length = 2 * width * height;
        told->m.offset = index << 24;
    }
    return answer(0);
}

/* The one format, size and rate, for those who ask for all. */
static int enumerate(unsigned long number, void *argument)
{
    struct v4l2_fmtdesc *format = argument;
    struct v4l2_frmsizeenum *size = argument;
    struct v4l2_frmivalenum *rate = argument;
    if (format->index) /* it stands first in all of them */
        return answer(EINVAL);
    switch (number) {
    case VIDIOC_ENUM_FMT:
        format->pixelformat = v4l2_fourcc(fourcc[0], fourcc[1], fourcc[2], fourcc[3]);
        return answer(0);
    case VIDIOC_ENUM_FRAMESIZES:
        size->type = V4L2_FRMSIZE_TYPE_DISCRETE;
        size->discrete = (struct v4l2_frmsize_discrete){width, height};
        return answer(0);
    default:
        rate->type = V4L2_FRMIVAL_TYPE_DISCRETE;
        rate->discrete = (struct v4l2_fract){1, fps};
        return answer(0);
    }
}

static int request(unsigned long number, void *argument)
{
    struct v4l2_buffer *buffer = argument;
    struct v4l2_streamparm *parameters = argument;
    struct v4l2_capability *capability = argument;
    if (unplugged())
        return answer(ENODEV);
    catch_up();
    switch (number) {
    case VIDIOC_QUERYCAP:
        memset(capability, 0, sizeof *capability);
        strcpy((char *)capability->driver, driver);
        strcpy((char *)capability->card, "Emulated camera");
        capability->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        capability->device_caps = capability->capabilities;
        return answer(0);
    case VIDIOC_ENUM_FMT:
    case VIDIOC_ENUM_FRAMESIZES:
    case VIDIOC_ENUM_FRAMEINTERVALS:
        return enumerate(number, argument);
    case VIDIOC_G_FMT:
    case VIDIOC_TRY_FMT:
    case VIDIOC_S_FMT:
        set_format(&((struct v4l2_format *)argument)->fmt.pix);
        return answer(0);
    case VIDIOC_G_PARM:
    case VIDIOC_S_PARM:
        parameters->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
        parameters->parm.capture.timeperframe = (struct v4l2_fract){1, fps};
        return answer(0);
    case VIDIOC_REQBUFS:
        return request_buffers(argument);
    case VIDIOC_STREAMON:
        streaming = 1;
        began_ns = now_ns();
        next = 0;
        return answer(0);
    case VIDIOC_STREAMOFF:
        streaming = queued.count = done.count = 0;
        return answer(0);
    case VIDIOC_QUERYBUF:
    case VIDIOC_QBUF:
        if ((int)buffer->index >= buffer_count)
            return answer(EINVAL);
        if (number == VIDIOC_QBUF)
            push(&queued, buffer->index);
        *buffer = buffers[buffer->index].told;
        return answer(0);
    case VIDIOC_DQBUF:
        if (!done.count)
            return answer(EAGAIN);
        *buffer = buffers[pop(&done)].told;
        return answer(0);
    }
    return answer(ENOTTY);
}

int ioctl(int fd, unsigned long number, ...)
{
    va_list list;
    va_start(list, number);
    void *argument = va_arg(list, void *);
    va_end(list);
    if (fd < 0 || fd != camera)
        return REAL(ioctl)(fd, number, argument);
    pthread_mutex_lock(&lock);
    int result = request(number, argument);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int select(int count, fd_set *reading, fd_set *writing, fd_set *failing, struct timeval *timeout)
{
    if (camera < 0 || !reading || camera >= count || !FD_ISSET(camera, reading))
        return REAL(select)(count, reading, writing, failing, timeout);
    long long end_ns = now_ns() + timeout->tv_sec * 1000000000LL + timeout->tv_usec * 1000LL;
    for (;;) {
        pthread_mutex_lock(&lock);
        catch_up();
        int ready = done.count || unplugged();
        long long until_ns = now_ns() + NAP_NS;
        if (streaming && there_ns(next) < until_ns)
            until_ns = there_ns(next);
        pthread_mutex_unlock(&lock);
        if (ready)
            return 1;
        if (now_ns() >= end_ns) {
            FD_ZERO(reading);
            return 0;
        }
        struct timespec until = {until_ns / 1000000000LL, until_ns % 1000000000LL};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
}

static void *map(void *(*real)(void *, size_t, int, int, int, off_t), void *start, size_t length,
                 int protection, int flags, int fd, off_t offset)
{
    if (fd < 0 || fd != camera)
        return real(start, length, protection, flags, fd, offset);
    char *memory = real(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    buffers[offset >> 24].start = memory;
    return memory;
}

void *mmap(void *start, size_t length, int protection, int flags, int fd, off_t offset)
{
    return map(REAL(mmap), start, length, protection, flags, fd, offset);
}

void *mmap64(void *start, size_t length, int protection, int flags, int fd, off_t offset)
{
    return map(REAL(mmap64), start, length, protection, flags, fd, offset);
}

static int a_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void read_frames(void)
{
    struct dirent **entries;
    int found = scandir(folder, &entries, a_file, alphasort);
    for (frame_count = 0; frame_count < found && frame_count < MOST_FRAMES; frame_count++) {
        char name[sizeof folder + 256];
        struct frame *frame = &frames[frame_count];
        snprintf(name, sizeof name, "%s/%s", folder, entries[frame_count]->d_name);
        FILE *file = fopen(name, "rb");
        frame->data = realloc(frame->data, 2 * width * height);
        frame->length = fread(frame->data, 1, 2 * width * height, file);
        fclose(file);
    }
}

static int open_camera(void)
{
    char word[4096];
    FILE *file = fopen(path, "r");
    if (!file)
        return -1;
    strcpy(stamps, "driver");
    strcpy(driver, "emulated");
    delay_ms = 0;
    while (fscanf(file, "%4095s", word) == 1) {
        sscanf(word, "frames=%4095s", folder);
        sscanf(word, "format=%4s", fourcc);
        sscanf(word, "width=%d", &width);
        sscanf(word, "height=%d", &height);
        sscanf(word, "fps=%d", &fps);
        sscanf(word, "delay_ms=%d", &delay_ms);
        sscanf(word, "stamps=%15s", stamps);
        sscanf(word, "driver=%15s", driver);
    }
    fclose(file);
    read_frames();
    streaming = buffer_count = queued.count = done.count = 0;
    return frame_count ? REAL(open)(path, O_RDONLY) : -1;
}

static int open_one(int (*real)(const char *, int, ...), const char *name, int flags, mode_t mode)
{
    const char *wanted = getenv("EMULATED_CAMERA");
    if (!wanted || strcmp(name, wanted) || !(flags & O_NONBLOCK) || access(name, R_OK))
        return real(name, flags, mode);
    pthread_mutex_lock(&lock);
    snprintf(path, sizeof path, "%s", wanted);
    camera = open_camera();
    pthread_mutex_unlock(&lock);
    return camera;
}

int open(const char *name, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t);
    va_end(list);
    return open_one(REAL(open), name, flags, mode);
}

int open64(const char *name, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t);
    va_end(list);
    return open_one(REAL(open64), name, flags, mode);
}

int close(int fd)
{
    if (fd >= 0 && fd == camera)
        camera = -1;
    return REAL(close)(fd);
}
