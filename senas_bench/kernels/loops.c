/* Batch norm, sums, ReLU, 3x3 pools and narrow convolutions of channels-last float tensors, forward and backward, on one
   thread, and whole passes of them: called by build.py and tape.py.

   A tensor (batch, channels, height, width) in this layout is a matrix of batch * height * width rows of c floats. */
#include <math.h>
#include <stdlib.h>
#define WIDEST 2048
#define MOST 3
#define MOST_TAPS 7
#define CHUNK 64
#define FOLDED 64
#define MOST_PIXELS 1024
#define GROUP 256
#define INLINE static inline __attribute__((always_inline))

/* What `statistics` writes for batch norm, each of c floats. */
enum { SCALE, SHIFT, MEAN, INVERSE, VARIANCE, FACTORS };

/* Narrow rows are taken several at a time, until they make a row of FOLDED floats or a little more: how many. */
static long together(long rows, long c) {
    long fold = 1;
    while (c * fold < FOLDED && rows % (2 * fold) == 0) fold *= 2;
    return fold;
}

/* Batch norm of z (rows, c) as z * scale + shift. Sums over CHUNK wide rows are in float, of differences to the first
   row of the chunk, which lies near the mean; chunks are merged in double. gamma and beta may be null.
   The running mean and variance, if there are, take in their `share`, the variance as an estimate of that of all images. */
void statistics(const float *z, long rows, long c, double eps, const float *gamma, const float *beta, double share,
                float *running_mean, float *running_variance, float *factors) {
    long fold = together(rows, c), width = c * fold, wide = rows / fold;
    double means[WIDEST], squares[WIDEST] = {0}; /* of the rows so far, in each of the folds: mean, squared deviations */
    float s[WIDEST], q[WIDEST];
    for (long start = 0; start < wide; start += CHUNK) {
        long count = start + CHUNK < wide ? CHUNK : wide - start;
        const float *first = z + start * width;
        for (long i = 0; i < width; i++) s[i] = q[i] = 0;
        for (long r = 0; r < count; r++) {
            const float *row = first + r * width;
            for (long i = 0; i < width; i++) {
                float d = row[i] - first[i];
                s[i] += d;
                q[i] += d * d;
            }
        }
        for (long i = 0; i < width; i++) {
            double mean = (double)s[i] / count, gap = first[i] + mean - (start ? means[i] : 0);
            squares[i] += q[i] - count * mean * mean;
            if (start) squares[i] += gap * gap * start * count / (start + count);
            means[i] = start ? means[i] + gap * count / (start + count) : gap;
        }
    }
    for (long i = 0; i < c; i++) {
        double mean = 0, variance = 0;
        for (long k = 0; k < fold; k++) mean += means[k * c + i] / fold;
        for (long k = 0; k < fold; k++) {
            double gap = means[k * c + i] - mean;
            variance += (squares[k * c + i] + wide * gap * gap) / rows;
        }
        variance = variance < 0 ? 0 : variance;
        double inverse = 1 / sqrt(variance + eps), factor = (gamma ? gamma[i] : 1.0) * inverse;
        factors[SCALE * c + i] = (float)factor;
        factors[SHIFT * c + i] = (float)((beta ? beta[i] : 0.0) - mean * factor);
        factors[MEAN * c + i] = (float)mean;
        factors[INVERSE * c + i] = (float)inverse;
        factors[VARIANCE * c + i] = (float)variance;
        if (running_mean) {
            double all = variance * rows / (rows > 1 ? rows - 1 : 1);
            running_mean[i] += (float)(share * (mean - running_mean[i]));
            running_variance[i] += (float)(share * (all - running_variance[i]));
        }
    }
}

/* One row after the other of a sum of n + m tensors. `n`, `m`, which outputs there are and often `width` are constants
   where this is used, so that the compiler makes a loop for each. */
INLINE void sum_rows(const int n, const int m, const int to_value, const int to_rect, const long width, long wide,
                     const float *restrict x, const float *restrict y, const float *restrict z,
                     const float *restrict a, const float *restrict b, float cap, float *restrict value,
                     float *restrict rect) {
    for (long r = 0; r < wide; r++)
        for (long i = 0, j = r * width; i < width; i++, j++) {
            float sum = n > 0 ? x[j] * a[i] + b[i] : x[j];
            if (n + m > 1) sum += n > 1 ? y[j] * a[WIDEST + i] : y[j];
            if (n + m > 2) sum += n > 2 ? z[j] * a[2 * WIDEST + i] : z[j];
            if (to_value) value[j] = sum;
            if (to_rect) {
                float above = sum < 0 ? 0 : sum; /* what is not a number stays so */
                rect[j] = above > cap ? cap : above;
            }
        }
}

/* Sum of n tensors z * scale + shift and of m plain ones, at most MOST together, all (rows, c); to value, and held
   between 0 and cap to rect, where these are not null. */
void combine(long n, const float **z, const float **factors, long m, const float **plain, long rows, long c, float cap,
             float *value, float *rect) {
    float a[MOST * WIDEST], b[WIDEST] = {0};
    const float *in[MOST] = {0};
    long fold = together(rows, c), width = c * fold, wide = rows / fold;
    for (long k = 0; k < n; k++) {
        in[k] = z[k];
        for (long i = 0; i < width; i++) {
            a[k * WIDEST + i] = factors[k][SCALE * c + i % c];
            b[i] += factors[k][SHIFT * c + i % c];
        }
    }
    for (long k = 0; k < m; k++) in[n + k] = plain[k];
#define ROWS(n, m, v, r, width) sum_rows(n, m, v, r, width, wide, in[0], in[1], in[2], a, b, cap, value, rect)
#define OUTPUTS(n, m, width)                                                                                           \
    if (value && rect) ROWS(n, m, 1, 1, width);                                                                        \
    else if (value) ROWS(n, m, 1, 0, width);                                                                           \
    else if (rect) ROWS(n, m, 0, 1, width)
#define INPUTS(n, m)                                                                                                   \
    case 4 * n + m:                                                                                                    \
        if (width == FOLDED) { OUTPUTS(n, m, FOLDED); }                                                                \
        else { OUTPUTS(n, m, width); }                                                                                 \
        break
    switch (4 * n + m) {
        INPUTS(0, 1); INPUTS(0, 2); INPUTS(0, 3); INPUTS(1, 0); INPUTS(1, 1); INPUTS(1, 2); INPUTS(2, 0); INPUTS(2, 1);
        INPUTS(3, 0);
    }
#undef INPUTS
#undef OUTPUTS
#undef ROWS
}

/* What comes back for an element of a sum, through its value and through the rectified one. */
INLINE float back(const int from_value, const int from_rect, float dvalue, float drect, float rect, float cap) {
    float sum = from_value ? dvalue : 0;
    return from_rect && !((rect <= 0) | (rect >= cap)) ? sum + drect : sum;
}

/* Of a chunk of rows of what comes back: s, its sum over rows; p, that of its products with n tensors less their means;
   and itself to g where `keep`. Constants as in `sum_rows`. */
INLINE void gather_rows(const int n, const int from_value, const int from_rect, const int keep, const long width,
                        long count, const float *restrict dvalue, const float *restrict drect,
                        const float *restrict rect, float cap, const float *restrict x, const float *restrict y,
                        const float *restrict z, const float *restrict mean, float *restrict g, float *restrict s,
                        float *restrict p) {
    for (long r = 0; r < count; r++)
        for (long i = 0, j = r * width; i < width; i++, j++) {
            float sum = back(from_value, from_rect, from_value ? dvalue[j] : 0, from_rect ? drect[j] : 0,
                             from_rect ? rect[j] : 0, cap);
            if (keep) g[j] = sum;
            if (n > 0) s[i] += sum;
            if (n > 0) p[i] += sum * (x[j] - mean[i]);
            if (n > 1) p[WIDEST + i] += sum * (y[j] - mean[WIDEST + i]);
            if (n > 2) p[2 * WIDEST + i] += sum * (z[j] - mean[2 * WIDEST + i]);
        }
}

/* Gradient dx of a tensor x before batch norm, from what comes back for the sum it is part of. */
INLINE void spread_rows(const int from_value, const int from_rect, const long width, long wide,
                        const float *restrict dvalue, const float *restrict drect, const float *restrict rect, float cap,
                        const float *restrict x, const float *restrict a, const float *restrict b,
                        const float *restrict d, float *restrict dx) {
    for (long r = 0; r < wide; r++)
        for (long i = 0, j = r * width; i < width; i++, j++) {
            float sum = back(from_value, from_rect, from_value ? dvalue[j] : 0, from_rect ? drect[j] : 0,
                             from_rect ? rect[j] : 0, cap);
            dx[j] = sum * a[i] + (x[j] * b[i] + d[i]);
        }
}

/* Gradients of `combine`. What comes back for value and for rect (either null, not both) is added up, to g where it is
   not null: the gradient of each plain tensor. dz are the gradients of the n tensors before batch norm, sums (n, 2, c)
   those of its gamma and beta. */
void combine_backward(long n, const float **z, const float **factors, const float *dvalue, const float *drect,
                      const float *rect, long rows, long c, float cap, float *g, float **dz, float *sums) {
    long fold = together(rows, c), width = c * fold, wide = rows / fold;
    double total[WIDEST] = {0}, product[MOST * WIDEST] = {0};
    float s[WIDEST], p[MOST * WIDEST], mean[MOST * WIDEST], a[WIDEST], b[WIDEST], d[WIDEST];
    const float *in[MOST] = {0};
    for (long k = 0; k < n; k++) {
        in[k] = z[k];
        for (long i = 0; i < width; i++) mean[k * WIDEST + i] = factors[k][MEAN * c + i % c];
    }
    for (long start = 0; start < wide; start += CHUNK) {
        long count = start + CHUNK < wide ? CHUNK : wide - start, from = start * width;
        for (long i = 0; i < width; i++) s[i] = 0;
        for (long k = 0; k < n; k++)
            for (long i = 0; i < width; i++) p[k * WIDEST + i] = 0;
#define AT(tensor) ((tensor) ? (tensor) + from : 0)
#define ROWS(n, v, r, keep, width)                                                                                     \
    gather_rows(n, v, r, keep, width, count, AT(dvalue), AT(drect), AT(rect), cap, AT(in[0]), AT(in[1]), AT(in[2]),    \
                mean, AT(g), s, p)
#define GIVEN(n, keep, width)                                                                                          \
    if (dvalue && drect) ROWS(n, 1, 1, keep, width);                                                                   \
    else if (drect) ROWS(n, 0, 1, keep, width);                                                                        \
    else ROWS(n, 1, 0, keep, width)
#define INPUTS(n)                                                                                                      \
    case n:                                                                                                            \
        if (g) { GIVEN(n, 1, width); }                                                                                 \
        else if (width == FOLDED) { GIVEN(n, 0, FOLDED); }                                                             \
        else { GIVEN(n, 0, width); }                                                                                   \
        break
        switch (n) { INPUTS(0); INPUTS(1); INPUTS(2); INPUTS(3); }
#undef INPUTS
#undef GIVEN
#undef ROWS
#undef AT
        for (long i = 0; i < width; i++) total[i % c] += s[i];
        for (long k = 0; k < n; k++)
            for (long i = 0; i < width; i++) product[k * WIDEST + i % c] += p[k * WIDEST + i];
    }
    for (long k = 0; k < n; k++) {
        for (long i = 0; i < width; i++) {
            double scale = factors[k][SCALE * c + i % c], inverse = factors[k][INVERSE * c + i % c];
            double slope = -scale * inverse * inverse * product[k * WIDEST + i % c] / rows;
            a[i] = (float)scale;
            b[i] = (float)slope;
            d[i] = (float)(-scale * total[i % c] / rows - slope * mean[k * WIDEST + i]);
        }
        for (long i = 0; i < c; i++) {
            sums[2 * k * c + i] = (float)(product[k * WIDEST + i] * factors[k][INVERSE * c + i]);
            sums[(2 * k + 1) * c + i] = (float)total[i];
        }
        if (g) spread_rows(1, 0, width, wide, g, 0, 0, cap, z[k], a, b, d, dz[k]);
        else if (dvalue && drect) spread_rows(1, 1, width, wide, dvalue, drect, rect, cap, z[k], a, b, d, dz[k]);
        else if (drect) spread_rows(0, 1, width, wide, 0, drect, rect, cap, z[k], a, b, d, dz[k]);
        else spread_rows(1, 0, width, wide, dvalue, 0, 0, cap, z[k], a, b, d, dz[k]);
    }
}

static float *room(long floats) {
    float *found = malloc((floats ? floats : 1) * sizeof(float));
    if (!found) abort();
    return found;
}

/* 3x3 average at stride 1 over the pixels that are there; x and out (b, h, w, c). */
void pool(const float *x, long b, long h, long w, long c, float *out) {
    long width = w * c;
    float *line = room(width);
    for (long image = 0; image < b; image++)
        for (long y = 0; y < h; y++) {
            const float *row = x + (image * h + y) * width;
            float *to = out + (image * h + y) * width;
            long rows = 1 + (y > 0) + (y + 1 < h);
            for (long i = 0; i < width; i++) line[i] = row[i];
            if (y > 0)
                for (long i = 0; i < width; i++) line[i] += row[i - width];
            if (y + 1 < h)
                for (long i = 0; i < width; i++) line[i] += row[i + width];
            float inside = 1.0f / (3 * rows), side = 1.0f / (2 * rows);
            for (long i = c; i < width - c; i++) to[i] = (line[i - c] + line[i] + line[i + c]) * inside;
            for (long i = 0; i < c; i++) {
                to[i] = (line[i] + line[i + c]) * side;
                to[width - c + i] = (line[width - c + i] + line[width - 2 * c + i]) * side;
            }
        }
    free(line);
}

/* Gradient of `pool`: each pixel's share of the averages it was part of; g and out (b, h, w, c). */
void pool_backward(const float *g, long b, long h, long w, long c, float *out) {
    long width = w * c;
    float *line = room(width);
    for (long image = 0; image < b; image++)
        for (long y = 0; y < h; y++) {
            const float *row = g + (image * h + y) * width;
            float *to = out + (image * h + y) * width;
            for (long i = 0; i < width; i++) line[i] = 0;
            for (long other = y > 0 ? y - 1 : 0; other <= y + 1 && other < h; other++) {
                const float *in = row + (other - y) * width;
                float inside = 1.0f / (3 * (1 + (other > 0) + (other + 1 < h))), side = 1.5f * inside;
                for (long i = 0; i < c; i++) line[i] += in[i] * side;
                for (long i = c; i < width - c; i++) line[i] += in[i] * inside;
                for (long i = width - c; i < width; i++) line[i] += in[i] * side;
            }
            for (long i = c; i < width - c; i++) to[i] = line[i - c] + line[i] + line[i + c];
            for (long i = 0; i < c; i++) {
                to[i] = line[i] + line[i + c];
                to[width - c + i] = line[width - c + i] + line[width - 2 * c + i];
            }
        }
    free(line);
}

/* 2x2 average at stride 2 of x (b, 2 h, 2 w, c), to out (b, h, w, c). */
void halve(const float *x, long b, long h, long w, long c, float *out) {
    long line = 2 * w * c;
    for (long row = 0; row < b * h; row++)
        for (long p = 0; p < w; p++) {
            const float *from = x + 2 * row * line + 2 * p * c;
            float *to = out + (row * w + p) * c;
            for (long i = 0; i < c; i++) to[i] = (from[i] + from[c + i] + (from[line + i] + from[line + c + i])) * .25f;
        }
}

/* Gradient of `halve`: a quarter to each of four pixels; g (b, h, w, c), out (b, 2 h, 2 w, c). */
void halve_backward(const float *g, long b, long h, long w, long c, float *out) {
    long line = 2 * w * c;
    for (long row = 0; row < b * h; row++)
        for (long p = 0; p < w; p++) {
            const float *from = g + (row * w + p) * c;
            float *to = out + 2 * row * line + 2 * p * c;
            for (long i = 0; i < c; i++) to[i] = to[c + i] = to[line + i] = to[line + c + i] = from[i] * .25f;
        }
}

typedef float eight __attribute__((vector_size(32), aligned(4)));
typedef float four __attribute__((vector_size(16), aligned(4)));

/* Products of a row of gradients g (out, c) with a padded row of inputs x, added to the k taps of dw (k, c). */
INLINE void taps(const int k, long out, long stride, long dilation, long c, const float *restrict g,
                 const float *restrict x, float *restrict dw) {
    long from = 0;
#define CHANNELS(vector, count)                                                                                        \
    for (; from + count <= c; from += count) {                                                                         \
        vector sums[MOST_TAPS];                                                                                        \
        for (int t = 0; t < k; t++) sums[t] = *(vector *)(dw + t * c + from);                                          \
        for (long i = 0; i < out; i++) {                                                                               \
            vector back = *(const vector *)(g + i * c + from);                                                         \
            for (int t = 0; t < k; t++) sums[t] += back * *(const vector *)(x + (i * stride + t * dilation) * c + from); \
        }                                                                                                              \
        for (int t = 0; t < k; t++) *(vector *)(dw + t * c + from) = sums[t];                                          \
    }
    CHANNELS(eight, 8)
    CHANNELS(four, 4)
    CHANNELS(float, 1)
#undef CHANNELS
}

/* Gradient of the weights of a depthwise convolution, k x k, k odd: dw (k, k, c), which must be 0, from its input x
   (b, h, w, c) and what comes back, g (b, out_h, out_w, c). line has w + 2 * padding pixels and is 0. Sums are taken
   image by image, in `part` (k, k, c). */
void depthwise_backward(const float *x, const float *g, long b, long h, long w, long c, long out_h, long out_w, long k,
                        long stride, long padding, long dilation, float *line, float *part, float *dw) {
    for (long image = 0; image < b; image++) {
        for (long i = 0; i < k * k * c; i++) part[i] = 0;
        for (long row = 0; row < h; row++) {
            const float *in = x + (image * h + row) * w * c;
            for (long i = 0; i < w * c; i++) line[padding * c + i] = in[i];
            for (long t = 0; t < k; t++) {
                long above = row + padding - t * dilation, y = above / stride;
                if (above < 0 || above % stride || y >= out_h) continue;
                const float *back = g + (image * out_h + y) * out_w * c;
                float *to = part + t * k * c;
                switch (k) {
                    case 3: taps(3, out_w, stride, dilation, c, back, line, to); break;
                    case 5: taps(5, out_w, stride, dilation, c, back, line, to); break;
                    case 7: taps(7, out_w, stride, dilation, c, back, line, to); break;
                }
            }
        }
        for (long i = 0; i < k * k * c; i++) dw[i] += part[i];
    }
}

/* A convolution k x k, k odd, padded by k / 2, of images (h, w, ci). Once an image has its padding, an output needs of
   each of k lines a run of k * ci floats. Images go through in groups of about GROUP outputs, which stay in the cache. */
struct layout {
    long images, pixels, run, line, area; /* images in a group, outputs of each; floats in a run, a line, an image */
    int plain;                            /* 1x1 at stride 1: nothing to pad, a pixel counts as an image */
};

static struct layout lay_out(long *b, long h, long w, long ci, long k, long stride, int *at) {
    long wide = (w - 1) / stride + 1;
    struct layout it = {1, ((h - 1) / stride + 1) * wide, k * ci, (w + k - 1) * ci, 0, k == 1 && stride == 1};
    it.area = (h + k - 1) * it.line;
    if (it.plain) {
        *b *= it.pixels;
        it.pixels = 1;
        it.area = ci;
    }
    if (it.pixels < GROUP) it.images = GROUP / it.pixels;
    if (it.images > *b) it.images = *b;
    for (long q = 0; q < it.images * it.pixels; q++)
        at[q] = q / it.pixels * it.area + (it.plain ? 0 : (q % it.pixels / wide * it.line + q % wide * ci) * stride);
    return it;
}

/* For weights (co, ci, k, k) and a group of padded images. */
static float *room_for(const struct layout *it, long k, long co) { return room(k * it->run * co + it->images * it->area); }

/* Where a weight (co, ci, k, k) lies: channels last, or as it is written. */
static long place(long channels_last, long ci, long k, long o, long i, long t) {
    return channels_last ? (o * k * k + t) * ci + i : (o * ci + i) * k * k + t;
}

/* Some images (h, w, ci) to `padded`, whose other pixels are 0 and stay so. */
static void pad(const float *x, long images, long h, long w, long ci, long k, const struct layout *it, float *padded) {
    for (long row = 0; row < images * h; row++) {
        const float *from = x + row * w * ci;
        float *to = padded + row / h * it->area + (row % h + k / 2) * it->line + k / 2 * ci;
        for (long i = 0; i < w * ci; i++) to[i] = from[i];
    }
}

/* 8 * v channels of p outputs, whose runs begin `at` floats from x; w (k, run, 8 * v). p and v are constants where this
   is used, so that the sums stay in registers. */
INLINE void outputs(const int p, const int v, long k, long run, long line, const float *restrict x, const int *at,
                    const float *restrict w, long co, long add, float *restrict out) {
    eight sums[8][2];
    for (int j = 0; j < p; j++)
        for (int u = 0; u < v; u++) sums[j][u] = add ? *(const eight *)(out + j * co + 8 * u) : (eight){0};
    for (long t = 0; t < k; t++) {
        const float *in[8];
        for (int j = 0; j < p; j++) in[j] = x + at[j] + t * line;
        for (long i = 0; i < run; i++, w += 8 * v) {
            eight weight[2];
            for (int u = 0; u < v; u++) weight[u] = *(const eight *)(w + 8 * u);
            for (int j = 0; j < p; j++) {
                float value = in[j][i];
                for (int u = 0; u < v; u++) sums[j][u] += weight[u] * value;
            }
        }
    }
    for (int j = 0; j < p; j++)
        for (int u = 0; u < v; u++) *(eight *)(out + j * co + 8 * u) = sums[j][u];
}

/* Convolution of x (b, h, w, ci) to out (b, ..., co), co a multiple of 8. The weights (co, ci, k, k) are channels-last or
   not. `turned` convolves with weights (ci, co, k, k) turned round: at stride 1 the way back. `add` adds to out. */
void convolve(const float *x, long b, long h, long w, long ci, const float *weight, long channels_last, long co, long k,
              long stride, long turned, long add, float *out) {
    int at[MOST_PIXELS];
    struct layout it = lay_out(&b, h, w, ci, k, stride, at);
    float *packed = room_for(&it, k, co), *padded = packed + k * it.run * co;
    for (long from = 0, width; from < co; from += width) {
        float *to = packed + from * k * it.run;
        width = co - from >= 16 ? 16 : 8;
        for (long t = 0; t < k * k; t++) {
            for (long i = 0; i < ci; i++)
                for (long o = from; o < from + width; o++)
                    *to++ = weight[turned ? place(channels_last, co, k, i, o, k * k - 1 - t) : place(channels_last, ci, k, o, i, t)];
        }
    }
    if (!it.plain)
        for (long i = 0; i < it.images * it.area; i++) padded[i] = 0;
    for (long start = 0, count; start < b; start += count) {
        const float *in = it.plain ? x + start * ci : padded;
        float *to = out + start * it.pixels * co;
        count = start + it.images < b ? it.images : b - start;
        if (!it.plain) pad(x + start * h * w * ci, count, h, w, ci, k, &it, padded);
        for (long from = 0, width; from < co; from += width) {
            const float *filters = packed + from * k * it.run;
            long q = 0, n = count * it.pixels;
            width = co - from >= 16 ? 16 : 8;
#define OUTPUTS(p, v)                                                                                                  \
    for (; q + p <= n; q += p) outputs(p, v, k, it.run, it.line, in, at + q, filters, co, add, to + q * co + from)
            if (width == 16) { OUTPUTS(6, 2); OUTPUTS(4, 2); OUTPUTS(1, 2); }
            else { OUTPUTS(8, 1); OUTPUTS(4, 1); OUTPUTS(1, 1); }
#undef OUTPUTS
        }
    }
    free(packed);
}

/* Gradient of the input of a convolution, dx (b, h, w, ci), ci a multiple of 8, from what comes back, g
   (b, ..., co); the other arguments are those of the convolution. `add` adds to dx. What an output gives to the pixels
   that it read is a convolution 1x1 of what comes back; it is then put where they are. */
void convolve_input(const float *g, long b, long h, long w, long ci, const float *weight, long channels_last, long co,
                    long k, long stride, long add, float *dx) {
    if (stride == 1) {
        convolve(g, b, h, w, co, weight, channels_last, ci, k, 1, 1, add, dx);
        return;
    }
    long high = h / stride, wide = w / stride, run = k * ci, group = high * wide < GROUP ? GROUP / (high * wide) : 1;
    float *filters = room(k * run * co), *given = room(group * high * wide * k * run);
    for (long t = 0; t < k * k; t++)
        for (long i = 0; i < ci; i++)
            for (long o = 0; o < co; o++) filters[(t * ci + i) * co + o] = weight[place(channels_last, ci, k, o, i, t)];
    if (!add)
        for (long i = 0; i < b * h * w * ci; i++) dx[i] = 0;
    for (long start = 0, count; start < b; start += count) {
        count = start + group < b ? group : b - start;
        convolve(g + start * high * wide * co, count, high, wide, co, filters, 0, k * run, 1, 1, 0, 0, given);
        for (long q = 0; q < count * high * wide; q++) {
            long image = start + q / (high * wide), left = q % wide * stride - k / 2;
            long from = left < 0 ? -left * ci : 0, to = left + k > w ? (w - left) * ci : run;
            for (long t = 0; t < k; t++) {
                long y = q % (high * wide) / wide * stride + t - k / 2;
                const float *in = given + (q * k + t) * run;
                float *out = dx + ((image * h + y) * w + left) * ci;
                if (y >= 0 && y < h)
                    for (long i = from; i < to; i++) out[i] += in[i];
            }
        }
    }
    free(filters), free(given);
}

/* Products of p floats of n runs with 8 * v channels of what comes back, g (n, co), added to dw (p, co). */
INLINE void products(const int p, const int v, long n, const float *restrict x, const int *restrict at,
                     const float *restrict g, long co, float *restrict dw) {
    eight sums[12][2];
    for (int j = 0; j < p; j++)
        for (int u = 0; u < v; u++) sums[j][u] = (eight){0};
    for (long q = 0; q < n; q++) {
        const float *in = x + at[q];
        eight back[2];
        for (int u = 0; u < v; u++) back[u] = *(const eight *)(g + q * co + 8 * u);
        for (int j = 0; j < p; j++)
            for (int u = 0; u < v; u++) sums[j][u] += back[u] * in[j];
    }
    for (int j = 0; j < p; j++)
        for (int u = 0; u < v; u++) *(eight *)(dw + j * co + 8 * u) += sums[j][u];
}

/* Gradient of the weights of a convolution, dw (co, ci, k, k), channels-last or not, from its input x
   (b, h, w, ci) and what comes back, g (b, ..., co). */
void convolve_weights(const float *x, const float *g, long b, long h, long w, long ci, long channels_last, long co,
                      long k, long stride, float *dw) {
    int at[MOST_PIXELS];
    struct layout it = lay_out(&b, h, w, ci, k, stride, at);
    float *part = room_for(&it, k, co), *padded = part + k * it.run * co;
    for (long i = 0; i < k * it.run * co; i++) part[i] = 0;
    if (!it.plain)
        for (long i = 0; i < it.images * it.area; i++) padded[i] = 0;
    for (long start = 0, count; start < b; start += count) {
        const float *in = it.plain ? x + start * ci : padded, *back = g + start * it.pixels * co;
        count = start + it.images < b ? it.images : b - start;
        if (!it.plain) pad(x + start * h * w * ci, count, h, w, ci, k, &it, padded);
        for (long t = 0; t < k; t++)
            for (long from = 0, width; from < co; from += width) {
                const float *row = in + t * it.line;
                float *to = part + t * it.run * co + from;
                long i = 0, n = count * it.pixels;
                width = co - from >= 16 ? 16 : 8;
#define PRODUCTS(p, v)                                                                                                 \
    for (; i + p <= it.run; i += p) products(p, v, n, row + i, at, back + from, co, to + i * co)
                if (width == 16) { PRODUCTS(6, 2); PRODUCTS(4, 2); PRODUCTS(1, 2); }
                else { PRODUCTS(12, 1); PRODUCTS(8, 1); PRODUCTS(4, 1); PRODUCTS(1, 1); }
#undef PRODUCTS
            }
    }
    for (long t = 0; t < k * k; t++)
        for (long i = 0; i < ci; i++)
            for (long o = 0; o < co; o++) dw[place(channels_last, ci, k, o, i, t)] = part[(t * ci + i) * co + o];
    free(part);
}

/* A pass is a list of records of longs. Each begins with its kind and its length; tensors are there by their place in
   memory, numbers that are not whole by their bits. What comes back for a tensor or a weight is kept by its number; -1
   where nobody wants it. */
enum { CONVOLVE, NORMALISE, WEIGH, COMBINE, TIMES, POOL, HALVE, AVERAGE };
enum { NORMALISED = 9 }; /* longs of each tensor that `COMBINE` normalises: z, factors, gamma, beta, share, 4 numbers */
#define PLACE(i) ((float *)it[i])

static double number(long bits) {
    union { long bits; double number; } both = {bits};
    return both.number;
}

/* The tensors of a sum in a record: z and factors of those that it normalises, then the plain ones. */
static void inputs(const long *it, const float **z, const float **factors, const float **plain) {
    for (long k = 0; k < it[2]; k++) z[k] = PLACE(10 + NORMALISED * k), factors[k] = PLACE(11 + NORMALISED * k);
    for (long k = 0; k < it[3]; k++) plain[k] = PLACE(10 + NORMALISED * it[2] + 2 * k);
}

/* Average of x (b, pixels, c) over its pixels. */
static void average(const float *x, long b, long pixels, long c, float *out) {
    for (long image = 0; image < b; image++, out += c) {
        for (long i = 0; i < c; i++) out[i] = 0;
        for (long p = 0; p < pixels; p++, x += c)
            for (long i = 0; i < c; i++) out[i] += x[i];
        for (long i = 0; i < c; i++) out[i] /= pixels;
    }
}

void go(const long *code, long length) {
    const float *z[MOST], *factors[MOST], *plain[MOST];
    for (const long *it = code; it < code + length; it += it[1]) switch (it[0]) {
        case CONVOLVE:
            convolve(PLACE(2), it[3], it[4], it[5], it[6], PLACE(7), it[8], it[9], it[10], it[11], 0, 0, PLACE(12));
            break;
        case NORMALISE:
            statistics(PLACE(2), it[3], it[4], number(it[5]), PLACE(6), PLACE(7), number(it[8]), PLACE(9), PLACE(10),
                       PLACE(11));
            if (it[12]) ++*(long *)it[12];
            break;
        case WEIGH:
            for (long i = 0; i < FACTORS * it[5]; i++) PLACE(4)[i] = PLACE(2)[i] * (i < 2 * it[5] ? *PLACE(3) : 1);
            break;
        case COMBINE:
            inputs(it, z, factors, plain);
            combine(it[2], z, factors, it[3], plain, it[4], it[5], INFINITY, PLACE(6), PLACE(7));
            break;
        case TIMES:
            for (long i = 0; i < it[5]; i++) PLACE(4)[i] = PLACE(2)[i] * *PLACE(3);
            break;
        case POOL: pool(PLACE(2), it[3], it[4], it[5], it[6], PLACE(7)); break;
        case HALVE: halve(PLACE(2), it[3], it[4], it[5], it[6], PLACE(7)); break;
        case AVERAGE: average(PLACE(2), it[3], it[4], it[5], PLACE(6)); break;
    }
}

/* What has come back so far: for tensors, whose sums are made as they come; for weights, to where they are wanted. */
struct gradients {
    float **tensors, **weights;
    char *written;
};

/* Add g, which the caller gives away, to what came back for a tensor. */
static void receive(struct gradients *all, long tensor, float *g, long count) {
    float **sum = tensor < 0 ? 0 : all->tensors + tensor;
    if (sum && !*sum) {
        *sum = g;
        return;
    }
    if (sum)
        for (long i = 0; i < count; i++) (*sum)[i] += g[i];
    free(g);
}

/* What came back for a tensor, all of it, to be freed: what reads the tensor was done after it. */
static float *take(struct gradients *all, long tensor) {
    float *found = tensor < 0 ? 0 : all->tensors[tensor];
    if (found) all->tensors[tensor] = 0;
    return found;
}

/* Add g times a number to what came back for a weight. */
static void credit(struct gradients *all, long weight, const float *g, long count, float times) {
    float *sum = weight < 0 ? 0 : all->weights[weight];
    if (!sum) return;
    for (long i = 0; i < count; i++) sum[i] = (all->written[weight] ? sum[i] : 0) + g[i] * times;
    all->written[weight] = 1;
}

static float dot(const float *x, const float *y, long count) {
    float sums[FOLDED] = {0}, all = 0;
    for (long i = 0; i + FOLDED <= count; i += FOLDED)
        for (long j = 0; j < FOLDED; j++) sums[j] += x[i + j] * y[i + j];
    for (long i = count - count % FOLDED; i < count; i++) all += x[i] * y[i];
    for (long j = 0; j < FOLDED; j++) all += sums[j];
    return all;
}

static void back_convolve(const long *it, struct gradients *all, float *g) {
    long b = it[3], h = it[4], w = it[5], ci = it[6], last = it[8], co = it[9], k = it[10], stride = it[11];
    if (it[15] >= 0 && all->weights[it[15]]) {
        float *dw = all->written[it[15]] ? room(co * ci * k * k) : all->weights[it[15]];
        convolve_weights(PLACE(2), g, b, h, w, ci, last, co, k, stride, dw);
        if (dw != all->weights[it[15]]) {
            credit(all, it[15], dw, co * ci * k * k, 1);
            free(dw);
        }
        all->written[it[15]] = 1;
    }
    if (it[13] >= 0) {
        float **dx = all->tensors + it[13];
        long add = *dx != 0;
        if (!add) *dx = room(b * h * w * ci);
        convolve_input(g, b, h, w, ci, PLACE(7), last, co, k, stride, add, *dx);
    }
    free(g);
}

static void back_combine(const long *it, struct gradients *all, float *value, float *rect) {
    long n = it[2], m = it[3], c = it[5], count = it[4] * c;
    const float *z[MOST], *factors[MOST], *plain[MOST];
    float *dz[MOST], *sums = room(2 * n * c), *total = rect && (m || n > 1) ? room(count) : 0;
    for (long k = 0; k < n; k++) dz[k] = room(count);
    inputs(it, z, factors, plain);
    combine_backward(n, z, factors, value, rect, PLACE(7), it[4], c, INFINITY, total, dz, sums);
    for (long k = 0; k < n; k++) {
        const long *who = it + 10 + NORMALISED * k;
        const float *gamma = (float *)who[2], *beta = (float *)who[3], *slope = sums + 2 * k * c, *shift = slope + c;
        float share = who[4] ? *(float *)who[4] : 1, of_share = 0;
        for (long i = 0; i < c; i++) of_share += slope[i] * (gamma ? gamma[i] : 1) + (beta ? shift[i] * beta[i] : 0);
        receive(all, who[5], dz[k], count);
        credit(all, who[6], slope, c, share);
        credit(all, who[7], shift, c, share);
        credit(all, who[8], &of_share, 1, 1);
    }
    if (!total) total = value, value = 0;
    for (long k = 0; k < m; k++) {
        float *given = total;
        if (k + 1 < m) {
            given = room(count);
            for (long i = 0; i < count; i++) given[i] = total[i];
        } else total = 0;
        receive(all, it[11 + NORMALISED * n + 2 * k], given, count);
    }
    free(total), free(value), free(rect), free(sums);
}

/* Back over a pass whose last tensor is `output`, for which g (count) comes back. Gradients of weights go to `weights`,
   where these are not null, and `written` says to which. */
void go_back(const long *code, long length, long tensors, long output, const float *g, long count, float **weights,
             char *written) {
    struct gradients all = {calloc(tensors + 1, sizeof(float *)), weights, written};
    const long **starts = malloc((length + 1) * sizeof(*starts));
    if (!all.tensors || !starts) abort();
    float *from = all.tensors[output] = room(count), *value, *rect, *to;
    for (long i = 0; i < count; i++) from[i] = g[i];
    long last = 0;
    for (const long *it = code; it < code + length; it += it[1]) starts[last++] = it;
    while (last--) {
        const long *it = starts[last];
        switch (it[0]) {
            case CONVOLVE:
                if ((from = take(&all, it[14]))) back_convolve(it, &all, from);
                break;
            case COMBINE:
                value = take(&all, it[8]), rect = take(&all, it[9]);
                if (value || rect) back_combine(it, &all, value, rect);
                break;
            case TIMES:
                if (!(from = take(&all, it[7]))) break;
                credit(&all, it[8], &(float){dot(from, PLACE(2), it[5])}, 1, 1);
                for (long i = 0; i < it[5]; i++) from[i] *= *PLACE(3);
                receive(&all, it[6], from, it[5]);
                break;
            case POOL:
            case HALVE:
                if (!(from = take(&all, it[9]))) break;
                to = room((it[0] == HALVE ? 4 : 1) * it[3] * it[4] * it[5] * it[6]);
                (it[0] == POOL ? pool_backward : halve_backward)(from, it[3], it[4], it[5], it[6], to);
                free(from);
                receive(&all, it[8], to, (it[0] == HALVE ? 4 : 1) * it[3] * it[4] * it[5] * it[6]);
                break;
            case AVERAGE:
                if (!(from = take(&all, it[8]))) break;
                to = room(it[3] * it[4] * it[5]);
                for (long i = 0, c = it[5]; i < it[3] * it[4] * c; i++) to[i] = from[i / c / it[4] * c + i % c] / it[4];
                free(from);
                receive(&all, it[7], to, it[3] * it[4] * it[5]);
                break;
        }
    }
    for (long i = 0; i < tensors; i++) free(all.tensors[i]);
    free(all.tensors), free(starts);
}
