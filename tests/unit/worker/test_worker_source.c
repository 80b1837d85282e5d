/* worker/source: what is only read through by the text, and all that must not be taken for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/source.h"

static void find_reads(const char *text, const char *options, const char *kernel, uint32_t count, bool *out_reads)
{
    struct pen_source *source = pen_source_create(text, options);
    pen_source_reads(source, kernel, count, out_reads);
    pen_source_destroy(source);
}

/* Is p of `kernel void k(global int *p, global int *q, int n)` only read, with this body, this before it, and these
 * options? */
static bool reads(const char *before, const char *body, const char *options)
{
    char text[2048];
    bool found[3];
    snprintf(text, sizeof text, "%s\nkernel void k(global int *p, global int *q, int n)\n{\n%s\n}\n", before, body);
    find_reads(text, options, "k", 3, found);
    assert_false(found[2]);
    return found[0];
}

static void test_what_is_read(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "q[0] = p[0];",
        "q[n] += p[n] * p[n + 1] - (p[2] + p[p[3]]);",
        "int x = p[get_global_id(0)]; q[x] = x;",
        "q[0] = (int)p[0];",
        "float4 x = (float4)(p[0], p[1], p[2], p[3]); q[0] = x.x;",
        "q[0] = (float)(p[0]);",
        "if (p[0] > 1 && !p[1]) q[0] = 1;",
        "while (p[0] == 3) { barrier(CLK_GLOBAL_MEM_FENCE); }",
        "for (int i = p[0]; i < p[1]; i++) q[i] = ~p[i] << 2;",
        "q[0] = max(p[0], n); q[1] = f(p[1]);",
        "return p[0] ? p[1] : p[2];",
        "switch (p[0]) { default: q[0] = 1; }",
        "int a[] = {p[0], p[1]}; q[0] = a[0];",
        "q[0] = p[0] /* = 1 */ ; // p[0] = 1",
        "q[0] = p[0]; char *s = \"p[0] = 1;\";",
        "q[n = 1] = p[0];",
        "#pragma unroll\nfor (int i = 0; i < n; i++) q[0] += p[i];",
        "q[0] = (float)(p[0]) * (float)(p[1]);",
        "__local int x __attribute__((aligned(8))); __private int y = p[0];",
        "int _x = p[0]; // \xc3\xa9, what?? \\ p[0] = 1\r\n",
        "", /* not even that */
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        if (!reads("", bodies[i], ""))
            fail_msg("%s", bodies[i]);
}

static void test_what_may_be_written(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "p[0] = 1;",
        "p[0] += 1;",
        "p[0]++;",
        "++p[0];",
        "--p[0];",
        "p[0]--;",
        "p[n] <<= 1;",
        "q[0] = p[0] = 1;",
        "(p[0]) = 1;",
        "((p[0])) = 1;",
        "(p[0])++;",
        "++(p[0]);",
        "if (n) p[0] = 1;",
        "if (n) x(); else (p[0]) = 1;",
        "do (p[0])++; while (n);",
        "*p = 1;",
        "*(p + 1) = 1;",
        "0[p] = 1;",
        "int x = *p;" /* not understood */,
        "global int *r = p; r[0] = 1;",
        "global int *r = p + 1; r[0] = 1;",
        "global int *r = &p[0]; r[0] = 1;",
        "global int *r = & p[0]; *r = 1;",
        "atomic_inc(p);",
        "atomic_inc(&p[n]);",
        "vstore4(x, 0, p);",
        "f(p);",
        "f(q, p + n);",
        "f(n & p[0], 1);" /* not understood */,
        "q[0] = p[0]; p[1] = 2;",
        "p[0].x = 1;",
        "p[0] [1] = 1;",
        "p[0] OTHER 1;",
        "OTHER p[0];",
        "p<:0:> = 1;",
        "p[0] ?"
        "?!?"
        "?! 1;",
        "n ? p[0] : p[1] = 1;",
        "global int *r; r = n ? p : q; r[0] = 1;",
        "__builtin_store(p[0], 1);",
        "asm(\"mov\" : \"=r\"(p[0]));",
        "goto p; p: q[0] = 1;",
        "p\\\n[0] = 1;",
        "p[0] /* */ = 1;",
        "#if A\np[0] = 1;\n#endif",
        "p[0]\n#define X\n= 1;",
        "int (*f)(int) = g; for (;;) (p[0])--;",
        "const global int *r = (global int *)p; q[0] = r[0];",
        "p[0] %: 1;",
        "'\\''; p[0] = '\"';",
        "q[0] = p->x;",
        "struct { int x; } s; s.x = p[0].y.z++;",
        "_Generic(n, int: p[0]) = 1;",
        "__extension__ (p[1]) = 2;",
        "__real__ (p[0]) = 1;",
        "__builtin_choose_expr(1, p[0], n) = 1;",
        "q[0] = (int)(p[0])++;",
        "q[0] = (int)(p[0])--;",
        "q[0] = (int)(p[0]).x++;",
        "int uint = n; if (uint) (p[0]) = 1;",
        "// c\r p[0] = 1;",
        "// c\r p[0] = 1;\r\n",
        "// c \\ \n/*\np[0] = 1; /* */",
        "// c \\\f\t\r\n/*\np[0] = 1; /* */",
        "/* *\\ \n/ p[0] = 1; /* */",
        "// ?\?/\n/*\np[0] = 1; /* */",
        "int a = '?\?''; p[0] = 1; int b = 'x', c = 'y'; int d = ' ';",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        if (reads("", bodies[i], ""))
            fail_msg("%s", bodies[i]);
}

/* What macros make of it. */
static void test_macros(void **state)
{
    (void)state;
    static const struct {
        const char *before, *body, *options;
        bool reads;
    } cases[] = {
        {"#define SIZE 16", "q[0] = p[SIZE];", "", true},
        {"#define LESS(a, b) ((a) < (b) ? (a) : (b))", "q[0] = LESS(n, 2) + p[0];", "", true},
        {"#define SET(a) a = 1", "q[0] = p[0];", "", true}, /* not of this kernel */
        {"#ifdef X\n#define A 1\n#else\n#define A 2\n#endif", "q[0] = p[A];", "", true},
        {"", "q[0] = p[A];", "-D A=1 -DB=2 -cl-std=CL1.2 -w -I /usr/include", true},
        {"#define SET(a) a = 1", "SET(p[0]);", "", false},
        {"#define SET(a) a = 1", "q[0] = p[0]; SET(n);", "", false}, /* more than need be */
        {"#define SAME(a) a", "SAME(p[0]) = 1;", "", false},
        {"#define SAME(a) a", "SAME(&) p[0];", "", false},
        {"#define BOTH(a, b) a b", "BOTH(p[0], = 1);", "", false},
        {"#define BOTH(a, b) a b\n#define ALSO BOTH", "ALSO(p[0], = 1);", "", false},
        {"#define IS =", "p[0] IS 1;", "", false},
        {"#define AT &", "AT p[0];", "", false},
        {"#define OUT p", "OUT[0] = 1;", "", false},
        {"#define OUT(a) p[a]", "OUT(0);", "", false},
        {"#define SET OTHER\n#define OTHER p[0] = 1", "SET;", "", false},
        {"#define JOIN(a, b) a##b", "JOIN(p, [0] = 1);", "", false},
        {"#define OPEN &(", "OPEN p[0]);", "", false},
        {"#define IS OTHER\n#define OTHER =", "q[0] = p[0]; n IS 1;", "", false},
        {"", "q[0] = p[0]; OUT = 1;", "-DOUT=p[0]", false},
        {"", "q[0] = p[0]; SET;", "-D SET=n=1", false},
        {"", "q[0] = p[0];", "-DA=\"x y\"", false},
        {"", "q[0] = p[0];", "-include other.h", false},
        {"", "q[0] = p[0];", "-cl-std=CLC++", false},
        {"#include \"other.h\"", "q[0] = p[0];", "", false},
        {"# include <other.h>", "q[0] = p[0];", "", false},
        {"/*", "q[0] = p[0];", "", false},
        {"#define A(x) B\n#define B(x, y) x", "A(1)(p[0], 0) = 1;", "", false},
        {"#define A(x) B\n#define B(x) C\n#define C(x) x", "A(1) (2) (p[0]) = 1;", "", false},
        {"#define \xc3\xa9(x, y) x", "\xc3\xa9(p[0], 0) = 1;", "", false},
        {"", "OUT\xc3\xa9 = 1; q[0] = p[0];", "-DOUT\xc3\xa9=p[0]", false},
        {"", "q[0] = p[0]; n OPEN 1);", "-DOPEN=(/*)*/", false},
        {"#define return", "atomic_inc(& return p[0]);", "", false},
        {"#define A(x) x\r=", "p[0] A( );", "", false},
        {"#define int float4", "q[0] = p[0];", "", false},
        {"#define global", "q[0] = p[0];", "", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (reads(cases[i].before, cases[i].body, cases[i].options) != cases[i].reads)
            fail_msg("%s, %s, %s", cases[i].before, cases[i].body, cases[i].options);
}

static void expect(const char *text, const char *kernel, const char *expected)
{
    bool found[8];
    uint32_t count = (uint32_t)strlen(expected);
    find_reads(text, "", kernel, count, found);
    for (uint32_t i = 0; i < count; i++)
        if (found[i] != (expected[i] == 'r'))
            fail_msg("%s: argument %u", text, i);
}

static void test_kernels(void **state)
{
    (void)state;
    const char *two = "__kernel void a(__global float4 *p, __global float *q) { q[0] = p[0].x; }\n"
                      "__attribute__((reqd_work_group_size(1, 1, 1)))\n"
                      "kernel __attribute__((vec_type_hint(float))) void b(global uint *restrict p, local int *l, "
                      "global volatile unsigned int *q, image2d_t i) { p[0] = q[0]; }\n";
    expect(two, "a", "r.");
    expect(two, "b", "..r.");
    expect(two, "c", "..");
    expect(two, "a", "..."); /* not its number */
    expect("kernel void k(global int *p); kernel void k(global int *q) { int x = q[0]; }", "k", "r");
    expect("kernel void k(global int *p) { int x = p[0]; }\nkernel void k(global int *p) { p[0] = 1; }", "k", ".");
    expect("kernel void k(global T *p) { int x = p[0]; }", "k", "."); /* any type */
    expect("kernel void k(global int (*p)[4]) { int x = p[0][0]; }", "k", ".");
    expect("kernel void k(global int **p) { int x = p[0][0]; }", "k", ".");
    expect("kernel void k(PARAMETERS) { int x = p[0]; }", "k", ".");
    expect("kernel void k(global int *p) { int x = p[0]; ", "k", ".");
    expect("kernel void k(global int *p) { int x = p[0)]; }", "k", ".");
    expect("void k(global int *p) { int x = p[0]; }", "k", ".");
    expect("", "k", ".");
    expect("kernel", "k", ".");
    expect("kernel void k(", "k", ".");
    expect("#if 0\nkernel void k(global int *p) { int x = p[0]; }\n#else\nMAKE(k)\n#endif\n", "k", ".");
    expect("#ifdef A\n#ifdef B\n#endif\nkernel void k(global int *p) { int x = p[0]; }\n#endif\n", "k", ".");
    expect("#ifdef A\n#endif\nkernel void k(global int *p) { int x = p[0]; }\n", "k", "r");
    expect("DROP(kernel void k(global int *p) { int x = p[0]; })\nMAKE(k)\n", "k", ".");
    expect("#define k j\nkernel void k(global int *p) { int x = p[0]; }\n#undef k\nMAKE(k)\n", "k", ".");
    /* what is left out has a half of the brackets */
    expect(
        "void f(int a\n#if 0\n);\nkernel void k(global int *p) { int x = p[0]; }\nvoid g(int a\n#endif\n);\nMAKE(k)\n",
        "k", ".");
    expect("#if 1\nDROP(\n#endif\n#if 0\n)\n#endif\nkernel void k(global int *p) { int x = p[0]; }\n"
           "#if 0\nDROP(\n#endif\n#if 1\n)\n#endif\nMAKE(k)\n",
           "k", ".");
    expect("#if 1\nDROP(\n#else\n)\n#endif\nkernel void k(global int *p) { int x = p[0]; }\n"
           "#if 0\nDROP(\n#else\n)\n#endif\nMAKE(k)\n",
           "k", ".");
    expect("DROP((\n#if 0\n)\n#endif\n)\nkernel void k(global int *p) { int x = p[0]; }\n"
           "DROP(\n#if 0\n(\n#endif\n))\nMAKE(k)\n",
           "k", ".");
    expect("#endif\nkernel void k(global int *p) { int x = p[0]; }\n#if 1\n", "k", ".");
    expect("void f(\n#if A\nint a\n#elif B\nint b, int (*c)(int)\n#else\nvoid\n#endif\n) {\n#define C\n}\n"
           "kernel void k(global int *p) { int x = p[0]; }\n",
           "k", "r");
    /* of a macro, too */
    expect("#define END ; void f(global int *p)\nkernel void k(global int *p) END { int x = p[0]; }\nMAKE(k)\n", "k",
           ".");
    expect("#define END f(global int *p); void\nkernel void END k(global int *p) { int x = p[0]; }\n", "k", ".");
    expect("#define kernel static\nkernel void k(global int *p) { int x = p[0]; }\nMAKE(k)\n", "k", ".");
    expect("kernel void k(void) {}", "k", "");
    expect("#", "k", ".");
    expect("#define", "k", ".");
}

/* One text tells of all its kernels, in any order, again and again. */
static void test_many_kernels(void **state)
{
    (void)state;
    static const char text[] = "#define A(x) x\n"
                               "kernel void a(global int *p, global int *q) { q[0] = A(p[0]); }\n"
                               "kernel void b(global int *p, global int *q) { q[0] = p[0]; }\n"
                               "kernel void c(global int *p, global int *q) { A(q)[0] = p[0]; }\n";
    static const char *const order[] = {"b", "a", "c", "a", "b", "none", "b"};
    struct pen_source *source = pen_source_create(text, "");
    assert_non_null(source);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        bool found[2], alone[2];
        pen_source_reads(source, order[i], 2, found);
        find_reads(text, "", order[i], 2, alone);
        assert_memory_equal(found, alone, sizeof found);
        assert_false(found[1]);
        assert_int_equal(found[0], *order[i] == 'b' || *order[i] == 'c');
    }
    pen_source_destroy(source);
}

/* Every beginning of a text is one, too. */
static void test_cut(void **state)
{
    (void)state;
    static const char text[] = "#define A(x) x /* c */\n#if 1\n#endif\nkernel void k(global int *p, int n)\n{\n"
                               "    int x = p[n].s0 + (int)p[A(1)] + 1.5e+3f; char c = '\\''; x <<= 2; // e\n}\n";
    for (size_t size = 0; size < sizeof text; size++) {
        bool found[2];
        char *cut = strndup(text, size);
        assert_non_null(cut);
        find_reads(cut, "-DB=1", "k", 2, found);
        free(cut);
    }
    char *large = calloc(1, PEN_SOURCE_BYTES + 64);
    bool found = true;
    assert_non_null(large);
    memset(large, ' ', PEN_SOURCE_BYTES + 1);
    strcat(large, "kernel void k(global int *p) {}");
    find_reads(large, "", "k", 1, &found);
    assert_false(found);
    memset(large, '(', 4096);
    large[4096] = 0;
    find_reads(large, "", "k", 1, &found);
    assert_false(found);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_is_read), cmocka_unit_test(test_what_may_be_written),
                                       cmocka_unit_test(test_macros),       cmocka_unit_test(test_kernels),
                                       cmocka_unit_test(test_many_kernels), cmocka_unit_test(test_cut)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
