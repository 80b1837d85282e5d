/* unit/icd/test_includes.c - options are split as a shell splits them, directives found as a compiler finds them, and
 * headers found, named and limited as icd/includes.h says. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "icd/includes.h"
#include "penstock-protocol.h"

/* ---- options ------------------------------------------------------------------------------------------- */

/* The words, separated by '|'. */
static void assert_words(const char *options, const char *expected)
{
    struct pen_option *words;
    uint32_t count;
    char got[512] = "";
    assert_int_equal(pen_options_split(options, &words, &count), 0);
    for (uint32_t i = 0; i < count; i++) {
        strcat(got, words[i].value);
        strcat(got, "|");
    }
    pen_options_free(words, count);
    assert_string_equal(got, expected);
}

static void test_options(void **state)
{
    (void)state;
    assert_words("", "");
    assert_words("  \t ", "");
    assert_words("-I a  -Ib\t-DX=1", "-I|a|-Ib|-DX=1|");
    assert_words("-I\"a b\"", "-Ia b|");
    assert_words("-I \"a b\"/c", "-I|a b/c|");
    assert_words("-I 'a \"b'", "-I|a \"b|");
    assert_words("-I a\\ b", "-I|a b|");
    assert_words("\"a\\\"b\\\\c\\d\"", "a\"b\\c\\d|");
    assert_words("'a\\b'", "a\\b|");
    assert_words("\"\" x", "|x|");
    assert_words("\"open", "open|");
    assert_words("end\\", "end\\|");
}

/* ---- directives ---------------------------------------------------------------------------------------- */

/* What is found, as "Q:name A:name M:name D:name=value C:condition". */
static void assert_directives(const char *text, const char *expected)
{
    char got[512] = "", *joined = pen_scan_join(text);
    const char *cursor = joined;
    assert_non_null(joined);
    for (;;) {
        struct pen_directive d = pen_scan_next(&cursor);
        if (d.kind == PEN_DIRECTIVE_END)
            break;
        size_t used = strlen(got);
        snprintf(got + used, sizeof got - used, "%s%c:%.*s", used ? " " : "", "QAMDC"[d.kind], (int)d.name_size,
                 d.name);
        used = strlen(got);
        if (d.kind == PEN_DIRECTIVE_DEFINE)
            snprintf(got + used, sizeof got - used, "=%.*s", (int)d.value_size, d.value);
    }
    assert_string_equal(got, expected);
    free(joined);
}

static void test_directives(void **state)
{
    (void)state;
    assert_directives("", "");
    assert_directives("#include \"a.h\"", "Q:a.h");
    assert_directives("#include <a/b.h>\n#include \"c.h\"\n", "A:a/b.h Q:c.h");
    assert_directives("  #  include\t\"a.h\" // \"b.h\"\n", "Q:a.h");
    assert_directives("#include\"a.h\"", "Q:a.h");
    assert_directives("#import \"a.h\"\n#include_next <b.h>", "Q:a.h A:b.h");
    assert_directives("x #include \"a.h\"", "");
    assert_directives("// #include \"a.h\"\n#include \"b.h\"", "Q:b.h");
    assert_directives("// joined \\\n#include \"a.h\"\n#include \"b.h\"", "Q:b.h");
    assert_directives("/* #include \"a.h\"\n#include \"b.h\" */ #include \"c.h\"", "Q:c.h");
    assert_directives("#include /* x */ \"a.h\" /* begins\n#include \"b.h\"\n ends */\n#include \"c.h\"",
                      "Q:a.h Q:c.h");
    assert_directives("char *s = \"/*\";\n#include \"a.h\"\nchar *t = \"*/\";", "Q:a.h");
    assert_directives("char c = '\"';\n#include \"a.h\"", "Q:a.h");
    assert_directives("char *s = \"\\\"\\\n#include \\\"x\\\"\";\n#include \"a.h\"", "Q:a.h");
    assert_directives("#error it's\n#include \"a.h\"", "Q:a.h");
    assert_directives("#inc\\\nlude \"a\\\r\n.h\"\n#def\\\n\\\nine X?\?/\n Y\n", "Q:a.h D:X=Y");
    assert_directives("?\?=include \"a.h\"\n#define Q \"?\?\" ?\?", "Q:a.h D:Q=\"?\?\" ?\?");
    assert_directives("#\\\ninclude \"a.h\"", "Q:a.h");
    assert_directives("#include \\\r\n\"a.h\"\r\n#include <b.h>\r\n", "Q:a.h A:b.h");
    assert_directives("#include NAME\n", "M:NAME");
    assert_directives("#include XSTR(NAME)\n", "M:XSTR(NAME)");
    assert_directives("#define NAME \"a.h\"\n#define N2 <b.h>\n#define X 3\n#define\n#define Y\n",
                      "D:NAME=\"a.h\" D:N2=<b.h> D:X=3 D:Y=");
    assert_directives("#define M(a, b) <a/b>\n#define N (x)\n", "D:M(a, b)=<a/b> D:N=(x)");
    assert_directives("#define M(a \\\n, b) \\\n #a\n#include \"a.h\"", "D:M(a , b)=#a Q:a.h");
    assert_directives("#define S /* \n */ \"*/\" // \"b.h\n#include \"a.h\"", "D:S=\"*/\" // \"b.h Q:a.h");
    assert_directives("%:include \"a.h\"\n  %: include <b.h>\nx %: include <c.h>", "Q:a.h A:b.h");
    assert_directives("#if defined(A) && __has_include(\"a.h\") || __has_include ( <b.h> )\n",
                      "C:defined(A) && __has_include(\"a.h\") || __has_include ( <b.h> ) Q:a.h A:b.h");
    assert_directives("#elif __has_include_next(S((a), b)) && 1\n", "C:__has_include_next(S((a), b)) && 1 M:S((a), b)");
    assert_directives("#if\n#if A /* B\n */ && C // D\n#elifdef X\n", "C:A /* B\n */ && C // D");
    assert_directives("#define H __has_include(\"a.h\")\n#define I(x) __has_include(x)\n#define __has_include(x) 0\n",
                      "D:H=__has_include(\"a.h\") Q:a.h D:I(x)=__has_include(x) M:x D:__has_include(x)=0");
    assert_directives("#define A # %: # define B\n#define C #include \"a.h\"\n",
                      "D:A=# %: # define B D:C=#include \"a.h\"");
    assert_directives("#ifdef __has_include\nint my__has_include(\"a.h\");", "");
    assert_directives("#include \"open.h\n#include <also\n#include \"a.h\"", "Q:a.h");
    assert_directives("#includes \"a.h\"\n#pragma include \"b.h\"", "");
    assert_directives("/* open", "");
    assert_directives("#", "");
    assert_directives("#include", "");
    assert_directives("#include \"\"", "");
    assert_directives("#if 0\n#include \"a.h\"\n#endif", "C:0 Q:a.h");
}

static void assert_copied(const char *text, size_t size, const char *expected)
{
    char *copy = pen_scan_copy(text, size);
    assert_string_equal(copy, expected);
    free(copy);
}

/* Of a part of a text, no more than that part. */
static void test_copy(void **state)
{
    (void)state;
    assert_copied("A /* B */ 'C /*' // D", 21, "A 'C /*' ");
    assert_copied("A\"=1234567890123456789012345678901234567890", 2, "A\"");
    assert_copied("A'=1'", 2, "A'");
    assert_copied("A/*=1*/2", 3, "A ");
    assert_copied("A\"\\\"=1\"", 3, "A\"\\");
}

/* ---- files --------------------------------------------------------------------------------------------- */

static char root[64];

static void write_file(const char *path, const char *text)
{
    char name[256];
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(name, sizeof name, "%.*s", (int)(slash - path), path);
        assert_true(mkdir(name, 0700) == 0 || errno == EEXIST);
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int enter_directory(void **state)
{
    (void)state;
    strcpy(root, "/tmp/penstock_includes_XXXXXX"); /* one word, and no macro whatever it ends with */
    return mkdtemp(root) && chdir(root) == 0 ? 0 : -1;
}

static int leave_directory(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", root);
    return chdir("/") || system(command);
}

static struct pen_includes collect(const char *source, const char *options)
{
    struct pen_includes includes = {0};
    struct pen_error error = {0};
    assert_int_equal(pen_includes_collect(source, options, NULL, 0, &includes, &error), 0);
    return includes;
}

static const char *header(const struct pen_includes *includes, const char *name)
{
    for (uint32_t i = 0; i < includes->header_count; i++)
        if (strcmp(includes->headers[i].name, name) == 0)
            return includes->headers[i].text;
    return NULL;
}

/* The names, in the order they were found, then the options. */
static void assert_collected(const char *source, const char *options, const char *names, const char *expected)
{
    struct pen_includes includes = collect(source, options);
    char got[1024] = "";
    for (uint32_t i = 0; i < includes.header_count; i++) {
        strcat(got, includes.headers[i].name);
        strcat(got, " ");
    }
    assert_string_equal(got, names);
    assert_string_equal(includes.options, expected);
    assert_null(includes.source);
    pen_includes_finish(&includes);
}

static void test_search(void **state)
{
    (void)state;
    write_file("here.h", "1");
    write_file("both.h", "cwd");
    write_file("with space/space.h", "2");
    write_file("with space/both.h", "space");
    write_file("one/one.h", "#include \"two.h\"\n#include \"sub/three.h\"\n");
    write_file("one/two.h", "#include <one.h>\n");
    write_file("one/sub/three.h", "#include \"../two.h\"\n#include <space.h>\n");

    assert_collected("kernel void k() {}", "", "", "");
    assert_collected("kernel void k() {}", NULL, "", "");
    assert_collected("#include \"missing.h\"", "-I one -DX -I two -cl-mad-enable", "", "-DX -cl-mad-enable");
    /* the working directory, quoted or not, as PoCL has it: before any -I */
    assert_collected("#include \"here.h\"", "", "1/here.h ", "-I @1@ ");
    assert_collected("#include <here.h>", "-w", "1/here.h ", "-I @1@ -w");
    assert_collected("#include <both.h>", "-I\"with space\"", "1/both.h ", "-I @1@ ");
    /* every way to write a directory */
    assert_collected("#include <space.h>", "-I\"with space\"", "2/space.h ", "-I @2@ ");
    assert_collected("#include <space.h>", "-I \"with space\" -w", "2/space.h ", "-I @2@ -w");
    assert_collected("#include <space.h>", "-w -Iwith\\ space -DX=1", "2/space.h ", "-w -I @2@ -DX=1");
    assert_collected("#include <space.h>", "-w -I'with space'", "2/space.h ", "-w -I @2@ ");
    /* files that include files, and each other; the order of directories stays */
    assert_collected("#include <one.h>", "-Ione -I nowhere -I \"with space\" -g",
                     "2/one.h 2/two.h 2/sub/three.h 4/space.h ", "-I @2@ -I @4@ -g");
    /* directories and unreadable things are no files */
    assert_collected("#include \"one\"\n#include \"/dev/null\"", "", "", "");
    /* what a vendor is to complain of arrives as it was */
    assert_collected("#include \"here.h\"", "-I", "1/here.h ", "-I @1@ -I");
    assert_collected("", "-cl-bogus  \"x y\"", "", "-cl-bogus  \"x y\"");
}

static void test_contents(void **state)
{
    (void)state;
    struct pen_includes includes = collect("#include <one.h>", "-I one");
    assert_string_equal(header(&includes, "2/one.h"), "#include \"two.h\"\n#include \"sub/three.h\"\n");
    pen_includes_finish(&includes);
}

static void test_macros(void **state)
{
    (void)state;
    write_file("macro.h", "m");
    write_file("defs.h", "#define FILE_NAME \"macro.h\"\n");
    assert_collected("#define F \"macro.h\"\n#include F\n", "", "1/macro.h ", "-I @1@ ");
    assert_collected("#include \"defs.h\"\n#include FILE_NAME\n", "", "1/defs.h 1/macro.h ", "-I @1@ ");
    assert_collected("#include F\n", "-DF=\\\"macro.h\\\"", "1/macro.h ", "-I @1@ -DF=\\\"macro.h\\\"");
    assert_collected("#include F\n", "-D F='<macro.h>'", "1/macro.h ", "-I @1@ -D F='<macro.h>'");
    assert_collected("#include G\n", "-DF=\\\"macro.h\\\"", "", "-DF=\\\"macro.h\\\"");
    /* what is no name of a macro defines none */
    static const char *const odd[] = {"'-DF\"=<macro.h>'",  "'-DF(=<macro.h>'",
                                      "'-DF(x=<macro.h>)'", "'-DF x=<macro.h>'",
                                      "'-D=<macro.h>'",     "-DF\\\"=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                                      "'-DF(x)y=<macro.h>'"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        assert_collected("#include F\n#include F(x)", odd[i], "", odd[i]);
}

/* Whatever macros come to, wherever they are defined; the second of two definitions, too. */
static void test_computed(void **state)
{
    (void)state;
    write_file("m/a.h", "a");
    write_file("m/b.h", "b");
    write_file("1/a.h", "a");
    write_file("m/next.h", "#include NEXT\n");
    write_file("m/names.h", "#define LATE \"b.h\"\n");
    static const char *const all[] = {
        "#define A \"a.h\"\n#define B A\n#include B",
        "#define A <a.h>\n#include /* x */ A // y",
        "#define S(x) #x\n#include S(a.h)",
        "#define S_(x) #x\n#define S(x) S_(x)\n#define H a.h\n#include S( H )",
        "#define S_(x) # x\n#define S(x) S_(x)\n#define D .\n#include S(D/a.h)",
        "#define S(...) #__VA_ARGS__\n#include S(a.h)",
        "#define S(x...) #x\n#include S(a.h)",
        "#define H(x, y) <x.y>\n#include H (a, h)",
        "#define H(x,y) <x ## y>\n#include H(a., h)",
        "#define H() <a.h>\n#include H()",
        "#define h 5\n#define S(x) #x\n#include S(a.h)",
        "#define A \\\n \"a.h\"\n#include \\\n A",
        "#define x 1\n#define A \"a.h\"\n#define A2 \"x.h\"\n#include A",
        "#ifdef X\n#define A \"none.h\"\n#else\n#define A \"a.h\"\n#endif\n#include A",
        "#define A \"a.h\"\n#if __has_include(A)\n#endif",
        "#include A\n#define A \"a.h\"",
        "#define A A A A\n#define B A\n#define B \"a.h\"\n#include B",
        "#define F(\n#define G(x\n#define A \"a.h\"\n#include F(\n#include G(x\n#include G\n#include A",
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_collected(all[i], "-Im", "2/a.h ", "-I @2@ ");
    assert_collected("#define S(x) #x\n#define T(x) S(x)\n#include T(H)", "-Im -DH=a.h", "2/a.h ", "-I @2@ -DH=a.h");
    assert_collected("#define S_(x) #x\n#define S(x) S_(x)\n#include S(N/a.h)\n", "-DN", "1/1/a.h ", "-I @1@ -DN");
    assert_collected("#include S(a.h)", "-Im -D 'S(x)=#x'", "2/a.h ", "-I @2@ -D 'S(x)=#x'");
    assert_collected(
        "#define NEXT \"a.h\"\n#include \"m/next.h\"\n#undef NEXT\n#define NEXT \"b.h\"\n#include \"m/next.h\"", "",
        "1/m/next.h 1/m/a.h 1/m/b.h ", "-I @1@ ");
    assert_collected("#define N \"names.h\"\n#include LATE\n#include N", "-Im", "2/names.h 2/b.h ", "-I @2@ ");
    /* no end of it, and ten ways to each of ten words: the search has one */
    char source[4096] = "#define S(x) #x\n", *at = source + strlen(source);
    for (int i = 0; i < 100; i++)
        at += sprintf(at, "#define W%d W%d\n", i / 10, i);
    strcpy(at, "#include S(W0/W1/W2/W3/W4/W5/W6/W7/W8/W9)");
    assert_collected(source, "-Im", "", "");
}

/* With two definitions of F, of which the second holds, beside ten other macros; and with two that are the compiler's
 * where no text has any. */
static void test_choices(void **state)
{
    (void)state;
    write_file("way/1/2/3/4/5/6/7/8/9/10/f2.h", "");
    write_file("way/120.300.h", "");
#define TEN                                                                                                            \
    "#define A way\n#define B 1\n#define C 2\n#define D 3\n#define E 4\n#define G 5\n#define H 6\n#define I 7\n"       \
    "#define J 8\n#define K 9\n#define L 10\n#define S_(x) #x\n#define S(x) S_(x)\n"
    assert_collected("#ifdef X\n#define F f1.h\n#else\n#define F f2.h\n#endif\n" TEN
                     "#define P(f) S(A/B/C/D/E/G/H/I/J/K/L/f)\n#include P(F)",
                     "", "1/way/1/2/3/4/5/6/7/8/9/10/f2.h ", "-I @1@ ");
    assert_collected("#define __V 1\n#define __W 2\n" TEN "#include S(A/__V.__W.h)", "", "1/way/120.300.h ", "-I @1@ ");
}

/* What has been left out is said, and the rest is sent. */
static void test_remark(void **state)
{
    (void)state;
    write_file("f1.h", "");
    char source[4096] = "#include \"f1.h\"\n#define S_(x) #x\n#define S(x) S_(x)\n", *at = source + strlen(source);
    for (int i = 0; i < 20; i++)
        at += sprintf(at, "#define W%d %d\n", i / 2, i);
    strcpy(at, "#include S(W0/W1/W2/W3/W4/W5/W6)");
    struct pen_includes includes = collect(source, "");
    assert_null(includes.remark);
    pen_includes_finish(&includes);
    strcpy(at, "#include S(W0/W1/W2/W3/W4/W5/W6/W7/W8/W9)");
    includes = collect(source, "");
    assert_non_null(includes.remark);
    assert_non_null(strstr(includes.remark, "'S(W0/W1/W2/W3/W4/W5/W6/W7/W8/W9)'"));
    assert_non_null(header(&includes, "1/f1.h"));
    pen_includes_finish(&includes);
}

static void test_every(void **state)
{
    (void)state;
    write_file("e1/e.h", "#include_next <e.h>\n");
    write_file("e2/e.h", "");
    write_file("e3/e.h", "");
    assert_collected("#include <e.h>", "-Ie1 -Ie2", "2/e.h 3/e.h ", "-I @2@ -I @3@ ");
    assert_collected("#include <e.h>", "-Ie2 -Ie1", "2/e.h ", "-I @2@ ");
    assert_collected("#if __has_include_next(\"e.h\")", "-Ie2 -Ie3", "2/e.h 3/e.h ", "-I @2@ -I @3@ ");
}

#define TEXT "#define S_(x) #x\n#define S(x) S_(x)\n#define J_(x, y) x##y\n#define J(x, y) J_(x, y)\n"

/* Arguments are expanded before they take their places, but for # and ##; a macro is not, within what it came to. */
static void test_arguments(void **state)
{
    (void)state;
    write_file("r/k2.h", "2");
    write_file("r/V.h", "V");
    write_file("r/k 2.h", "2");
    static const char *const all[][2] = {
        {TEXT "#define V 2\n#include S(J(k, V).h)", "2/k2.h "},
        {TEXT "#define V 2\n#define F S(J(J(,k), J(V,)).h)\n#include F", "2/k2.h "},
        {TEXT "#define V 2\n#include S(J_(k, V).h)", ""},
        {TEXT "#define V 2\n#include S_(V.h)", "2/V.h "},
        {TEXT "#define k k2\n#define h k.h\n#include S(h)", "2/k2.h "},
        {TEXT "#define G(x) k##x\n#define F G\n#include S(F (2).h)", "2/k2.h "},
        {TEXT "#define k2(x) S(k2.x)\n#include k2(k2(h))", ""},
        {TEXT "#define k2(x) k2.x\n#include S(k2(h))", "2/k2.h "},
        {TEXT "#define E\n#define G(x) x x k2 x\n#include S(./G().h)", "2/k2.h "},
        {TEXT "#define E\n#include S(k E E 2.h)", "2/k 2.h "},
        {"#include <V.h>\n#define V 2", "2/V.h "},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_collected(all[i][0], "-Ir", all[i][1], *all[i][1] ? "-I @2@ " : "");
}

/* Macros of the device's own compiler: any number, or the word, or nothing. */
static void test_compilers_macros(void **state)
{
    (void)state;
    write_file("cl/c120.h", "");
    write_file("cl/c300.h", "");
    write_file("cl/c.h", "");
    write_file("cl/c1.2_x.h", "");
    write_file("cl/cold.h", "");
    write_file("cl/c__LINE__.h", "");
    write_file("cl/120/x.h", "");
    write_file("cl/200/x.h", "#include \"y.h\"\n");
    write_file("cl/200/y.h", "");
    write_file("cl/old/x.h", "");
    write_file("cl/7.h", "");
    static const char *const all[][2] = {
        {TEXT "#include S(J(c, __OPENCL_VERSION__).h)", "2/c.h 2/c1.2_x.h 2/c120.h 2/c300.h "},
        {TEXT "#include S(J(c, __LINE__).h)", "2/c__LINE__.h 2/c.h 2/c1.2_x.h 2/c120.h 2/c300.h "},
        {TEXT "#include S(J_(c, __LINE__).h)", "2/c__LINE__.h "},
        {TEXT "#define V POCL_BITS\n#include S(V/x.h)", "2/120/x.h 2/200/x.h 2/200/y.h "},
        {TEXT "#define PATH cl\n#include S(PATH/cl_khr_fp64/x.h)", "1/cl/120/x.h 1/cl/200/x.h 1/cl/200/y.h "},
        {TEXT "#include S(J(c, J(__A, _B)).h)", "2/c.h 2/c1.2_x.h 2/c120.h 2/c300.h "},
        {"#define A(x) <x.h>\n#include A(__COUNTER__)", "2/7.h "},
        {TEXT "#ifndef __OPENCL_C_VERSION__\n#define __OPENCL_C_VERSION__ 300\n#endif\n"
              "#include S(J(c,__OPENCL_C_VERSION__).h)",
         "2/c300.h 2/c.h 2/c1.2_x.h 2/c120.h "},
        {TEXT "#include S(small/x.h)\n#include S(J(c, small).h)", ""},
        {TEXT "#if __has_include(S(J(c, __IMAGE_SUPPORT__).h))", "2/c.h 2/c1.2_x.h 2/c120.h 2/c300.h "},
        {"#include __FILE__\n#include __LINE__\n#include \"__LINE__.h\"", ""},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_collected(all[i][0], "-Icl", all[i][1],
                         *all[i][1] == '1'   ? "-I @1@ "
                         : *all[i][1] == '2' ? "-I @2@ "
                                             : "");
    /* names given to clCompileProgram, and absolute ones */
    const struct pen_include_given given[] = {
        {"g/v120.h", ""}, {"g/i.h", TEXT "#include S(J(v, __LINE__).h)"}, {"g/vx.h", ""}};
    struct pen_includes includes = {0};
    struct pen_error error = {0};
    assert_int_equal(pen_includes_collect("#include <g/i.h>", "", given, 3, &includes, &error), 0);
    assert_string_equal(includes.headers[1].name, "0/g/v120.h");
    pen_includes_finish(&includes);
    char source[256], name[128];
    snprintf(source, sizeof source, TEXT "#include S(%s/cl/__LINE__/y.h)", root);
    includes = collect(source, "");
    snprintf(name, sizeof name, "2/penstock-root%s/cl/200/y.h", root);
    assert_non_null(header(&includes, name));
    assert_non_null(strstr(includes.source, "S(penstock-root/"));
    pen_includes_finish(&includes);
}

/* What an #if asks for by way of a macro. */
static void test_questions(void **state)
{
    (void)state;
    write_file("q/a.h", "");
    write_file("q/b.h", "");
    static const char *const all[] = {
        "#define HAS __has_include(<a.h>)\n#if HAS",
        "#define HAS(x) __has_include(x)\n#if 1 && HAS(<a.h>)",
        "#define HAS(x) __has_include(x)\n#if 0\n#elif defined(HAS) && HAS(\"a.h\")",
        "#if H(G)\n#endif\n#define G <a.h>\n#define H(x) I(x)\n#define I(x) defined(J) && __has_include(x)",
        "#define HAS(x) __has_include(<x.h>)\n#define A HAS(a)\n#define B A\n#if B",
        "#ifndef __has_include\n#define __has_include(x) 0\n#endif\n#define HAS(x) __has_include(x)\n#if HAS(<a.h>)",
        "#ifdef X\n#define HAS(x) 0\n#else\n#define HAS(x) __has_include(x)\n#endif\n#if HAS(<a.h>)",
        "#define HAS(x) __has_include(x)\nHAS(<b.h>)\n#if HAS(<a.h>)\n#if HAT(<b.h>)\n#pragma HAS(<b.h>)",
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_collected(all[i], "-Iq", "2/a.h ", "-I @2@ ");
    assert_collected("#if HAS(<a.h>)", "-Iq '-DHAS(x)=__has_include(x)'", "2/a.h ",
                     "-I @2@ '-DHAS(x)=__has_include(x)'");
    assert_collected("#define HAS(x) __has_include_next(x)\n#if HAS(<a.h>)", "-I. -Iq", "3/a.h ", "-I @3@ ");
    char source[1024], expected[128];
    const char *format = "#define HAS(x) __has_include(x)\n"
                         "#if __has_include(\"%1$s/q/b.h\") && HAS(<%1$s/q/a.h>) && __has_include( <%1$s/q/b.h>)";
    snprintf(source, sizeof source, format, root);
    snprintf(expected, sizeof expected, "penstock-root%s", root);
    struct pen_includes includes = collect(source, "");
    snprintf(source, sizeof source, format, expected);
    assert_string_equal(includes.source, source);
    assert_int_equal(includes.header_count, 2);
    pen_includes_finish(&includes);
}

#define MANY 40000

/* What is found for `source` takes no more of the processor than grows with the text, also under a sanitizer. */
static void assert_quick(const char *source, const char *names, const char *options)
{
    clock_t begin = clock();
    assert_collected(source, "-Iq", names, options);
    assert_true(clock() - begin < 3 * CLOCKS_PER_SEC);
}

/* Very many macros, in computed includes' and conditions' texts: each is looked for by its name. */
static void test_many(void **state)
{
    (void)state;
    write_file("q/a.h", "");
    char *source = malloc(MANY * 80 + 1000), *at = source;
    /* each asks by way of the next */
    for (int i = 0; i < MANY; i++)
        at += sprintf(at, "#define M%d(x) M%d(x)\n#if N%d\n#endif\n", i, i + 1, i);
    at += sprintf(at, "#define M%d(x) __has_include(x)\n", MANY);
    strcpy(at, "#if M39990(<a.h>)\n");
    assert_quick(source, "2/a.h ", "-I @2@ ");
    /* none asks */
    at = source + sprintf(source, "#define A <a.h>\n#include A\n");
    for (int i = 0; i < MANY; i++)
        at += sprintf(at, "#define M%d M%d M M M M M M\n#if M%d && N%d\n#endif\n", i, i + 1, i, i);
    assert_quick(source, "2/a.h ", "-I @2@ ");
    /* all are of one name, and used by all */
    at = source;
    for (int i = 0; i < MANY; i++)
        at += sprintf(at, "#define M M N%d\n", i);
    strcpy(at, "#define M __has_include(<a.h>)\n#if 0\n#endif\n");
    assert_quick(source, "2/a.h ", "-I @2@ ");
    /* words that are none, in many ways to choose */
    at = source;
    for (int i = 0; i < MANY; i++)
        at += sprintf(at, "#define M%d %d\n", i / 2, i);
    strcpy(at, "#define S(x) <x>\n#include S(M0/M1/M2/M3/M4/M5/M6/M7/M8/M9/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q)\n");
    assert_quick(source, "", "");
    free(source);
}

/* Directories that only lead to others are there as well. */
static void test_passed(void **state)
{
    (void)state;
    write_file("pass.h", "p");
    write_file("way/pass.h", "p");
    assert_int_equal(mkdir("nothing", 0700) || mkdir("way/to", 0700), 0);
    assert_collected("#include \"nothing/../pass.h\"", "", "1/pass.h 1/nothing/.penstock ", "-I @1@ ");
    assert_collected("#include \"way/../pass.h\"\n#include \"way/pass.h\"", "",
                     "1/pass.h 1/way/.penstock 1/way/pass.h ", "-I @1@ ");
    assert_collected("#include \"way/pass.h\"\n#include \"way/../pass.h\"", "", "1/way/pass.h 1/pass.h ", "-I @1@ ");
    assert_collected("#include \"pass.h\"\n#include \"way/to/../.././nothing//../pass.h\"", "",
                     "1/pass.h 1/way/to/.penstock 1/nothing/.penstock ", "-I @1@ ");
    assert_collected("#include <../pass.h>", "-I nothing", "2/pass.h 2/u/.penstock ", "-I @2@/u ");
    assert_collected("#include \"../gone.h\"", "-I nothing", "", "");
}

static void test_climbing(void **state)
{
    (void)state;
    write_file("top.h", "t");
    write_file("deep/er/in.h", "#include \"../../top.h\"\n");
    assert_collected("#include <in.h>", "-Ideep/er", "2/u/u/in.h 2/top.h ", "-I @2@/u/u ");
    /* within its directory nothing changes */
    assert_collected("#include <er/../er/in.h>", "-Ideep", "2/u/er/in.h 2/top.h ", "-I @2@/u ");
}

/* Texts and options in which %s is the root; NULL: none. */
static void assert_rooted(const char *source, const char *rooted, const char *options, const char *rooted_options)
{
    char text[256], expected[256], given[256], name[128];
    snprintf(text, sizeof text, source, root);
    snprintf(given, sizeof given, options, root);
    struct pen_includes includes = collect(text, given);
    snprintf(name, sizeof name, "2/penstock-root%s/abs/b.h", root);
    assert_int_equal(includes.header_count, 1);
    assert_non_null(header(&includes, name));
    snprintf(expected, sizeof expected, rooted_options, root);
    assert_string_equal(includes.options, expected);
    if (rooted) {
        snprintf(expected, sizeof expected, rooted, root);
        assert_string_equal(includes.source, expected);
    } else {
        assert_null(includes.source);
    }
    pen_includes_finish(&includes);
}

static void test_absolute(void **state)
{
    (void)state;
    char source[256], name[128];
    write_file("abs/a.h", "#include \"b.h\"\n");
    write_file("abs/b.h", "b");
    snprintf(source, sizeof source, "int x;\n#include \"%s/abs/a.h\" // here\nint y;", root);
    struct pen_includes includes = collect(source, "-w");
    assert_string_equal(includes.options, "-w -I @2@ ");
    snprintf(name, sizeof name, "int x;\n#include \"penstock-root%s/abs/a.h\" // here\nint y;", root);
    assert_string_equal(includes.source, name);
    snprintf(name, sizeof name, "2/penstock-root%s/abs/b.h", root);
    assert_string_equal(header(&includes, name), "b");
    pen_includes_finish(&includes);

    /* the same from within a header */
    snprintf(source, sizeof source, "#include <%s/abs/b.h>\n", root);
    write_file("outer.h", source);
    includes = collect("#include \"outer.h\"", "");
    snprintf(name, sizeof name, "#include <penstock-root%s/abs/b.h>\n", root);
    assert_string_equal(header(&includes, "1/outer.h"), name);
    assert_null(includes.source);
    pen_includes_finish(&includes);

    /* in a macro's value, an argument, an option: where computed includes can begin with it */
    static const char *const texts[][4] = {
        {"#define R \"%s/abs/b.h\"\n#include R", "#define R \"penstock-root%s/abs/b.h\"\n#include R", "", " -I @2@ "},
        {"#define R <%s/abs/b.h>\n#include R", "#define R <penstock-root%s/abs/b.h>\n#include R", "", " -I @2@ "},
        {"#define S(x) #x\n#include S(%s/abs/b.h)", "#define S(x) #x\n#include S(penstock-root%s/abs/b.h)", "",
         " -I @2@ "},
        {"#define P(x) <%s/abs/x.h>\n#include P(b)", "#define P(x) <penstock-root%s/abs/x.h>\n#include P(b)", "",
         " -I @2@ "},
        {"#include R", NULL, "-w -DR=<%s/abs/b.h>", "-w -DR=<penstock-root%s/abs/b.h> -I @2@ "},
        {"#include R", NULL, "-D R=\\\"%s/abs/b.h\\\" -w", "-D R=\\\"penstock-root%s/abs/b.h\\\" -w -I @2@ "},
        {"#define S_(x) #x\n#define S(x) S_(x)\n#include S(D/b.h)", NULL, "-D \"D=%s/abs\"",
         "-D \"D=penstock-root%s/abs\" -I @2@ "},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_rooted(texts[i][0], texts[i][1], texts[i][2], texts[i][3]);
    snprintf(source, sizeof source, "#def\\\nine R \\\n \"\\\n%s/abs/b.h\" // \\\n", root);
    snprintf(name, sizeof name, "#def\\\nine R \\\n \"\\\npenstock-root%s/abs/b.h\" // \\\n", root);
    strcat(source, "\n#include R");
    strcat(name, "\n#include R");
    includes = collect(source, "");
    assert_string_equal(includes.source, name);
    pen_includes_finish(&includes);
    /* not elsewhere */
    snprintf(source, sizeof source, "#define R \"%s/abs/a.h\"\n", root);
    assert_collected(source, "", "", "");
    assert_collected("#define N \"top.h\"\n#include N\n#define O /2.0f\n#define L \"/tmp/none/log\"", "", "1/top.h ",
                     "-I @1@ ");
}

static void test_given(void **state)
{
    (void)state;
    write_file("given.h", "from the disk");
    write_file("disk.h", "d");
    const struct pen_include_given given[] = {{"given.h", "#include \"inner/i.h\"\n#include <disk.h>\n"},
                                              {"inner/i.h", "#include \"j.h\"\n"},
                                              {"inner/j.h", "j"},
                                              {"unused.h", "#include \"disk.h\"\n"}};
    struct pen_includes includes = {0};
    struct pen_error error = {0};
    assert_int_equal(pen_includes_collect("#include <given.h>", "-w", given, 4, &includes, &error), 0);
    assert_string_equal(includes.options, "-I @0@ -I @1@ -w");
    assert_int_equal(includes.header_count, 5);
    assert_string_equal(header(&includes, "0/given.h"), given[0].text);
    assert_string_equal(header(&includes, "0/inner/i.h"), given[1].text);
    assert_string_equal(header(&includes, "0/inner/j.h"), given[2].text);
    assert_string_equal(header(&includes, "0/unused.h"), given[3].text);
    assert_string_equal(header(&includes, "1/disk.h"), "d");
    pen_includes_finish(&includes);
}

static void test_limits(void **state)
{
    (void)state;
    char name[64], *source = calloc(PEN_LIMIT_HEADERS + 1, 32), *at = source;
    for (unsigned i = 0; i <= PEN_LIMIT_HEADERS; i++) {
        snprintf(name, sizeof name, "many/%u.h", i);
        write_file(name, "");
        at += sprintf(at, "#include \"%s\"\n", name);
    }
    struct pen_includes includes = {0};
    struct pen_error error = {0};
    assert_int_equal(pen_includes_collect(source, "", NULL, 0, &includes, &error), -PEN_ELIMIT);
    assert_non_null(strstr(error.message, "limit HEADERS"));
    assert_non_null(strstr(error.message, "many/1024.h"));
    *strrchr(source, '#') = 0;
    assert_int_equal(pen_includes_collect(source, "", NULL, 0, &includes, &error), 0);
    assert_int_equal(includes.header_count, PEN_LIMIT_HEADERS);
    pen_includes_finish(&includes);
    free(source);

    /* more bytes than a program may have: sparse files */
    write_file("big/a.h", "");
    write_file("big/b.h", "");
    assert_int_equal(truncate("big/a.h", PEN_LIMIT_PROGRAM / 2 + 1), 0);
    assert_int_equal(truncate("big/b.h", PEN_LIMIT_PROGRAM / 2), 0);
    assert_int_equal(pen_includes_collect("#include \"a.h\"\n#include \"b.h\"", "-Ibig", NULL, 0, &includes, &error),
                     -PEN_ELIMIT);
    assert_non_null(strstr(error.message, "limit PROGRAM"));
}

/* A chain longer than compilers follow ends. */
static void test_nesting(void **state)
{
    (void)state;
    char name[32], text[64];
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "chain/%d.h", i);
        snprintf(text, sizeof text, "#include \"%d.h\"\n", i + 1);
        write_file(name, text);
    }
    struct pen_includes includes = collect("#include \"chain/0.h\"", "");
    assert_in_range(includes.header_count, 200, 202);
    pen_includes_finish(&includes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),   cmocka_unit_test(test_directives), cmocka_unit_test(test_search),
        cmocka_unit_test(test_contents),  cmocka_unit_test(test_macros),     cmocka_unit_test(test_climbing),
        cmocka_unit_test(test_absolute),  cmocka_unit_test(test_given),      cmocka_unit_test(test_limits),
        cmocka_unit_test(test_nesting),   cmocka_unit_test(test_computed),   cmocka_unit_test(test_every),
        cmocka_unit_test(test_passed),    cmocka_unit_test(test_arguments),  cmocka_unit_test(test_compilers_macros),
        cmocka_unit_test(test_questions), cmocka_unit_test(test_copy),       cmocka_unit_test(test_many),
        cmocka_unit_test(test_choices),   cmocka_unit_test(test_remark),
    };
    return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
