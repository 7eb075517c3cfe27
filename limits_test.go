package pharos

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the generated documents")

// limitPackages in the order in which a reader wants them.
var limitPackages = []string{"sip", "xmpp", "simple", "jabber", "presence", "engine", "account", "pidf", "dialoginfo", "watcherinfo", "summary", "policy", "roster", "markup", "patch", "filter", "store", "cluster", "xdm", "xcap", "server", "config"}

// isLimit picks constants that bound something.
var isLimit = regexp.MustCompile(`^([Mm]ax|[Mm]in|[Dd]efault)[A-Z]`)

// docs/limits.md is made from the constants and Limits structs themselves, so
// that a bound cannot part from what is said of it.
func TestLimitsDocument(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Limits\n\nEvery bound on what strangers and users can make the server hold, made from the code by `go test . -run Limits -update`.\n" +
		"Over a bound the peer gets the error that its standard names; others are not harmed. Those marked *configurable* have a key in\n" +
		"`[limits]` (see `pharos config describe`).\n")
	configurable := map[string]bool{"Connections": true, "ConnectionsPerAddress": true, "MaxConns": true, "MaxConnsPerAddress": true,
		"MaxUnauthPerAddress": true, "AuthTimeout": true}
	for _, p := range limitPackages {
		rows := limitsOf(t, p)
		if len(rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n| bound | value | meaning |\n|---|---|---|\n", p)
		for _, r := range rows {
			if configurable[r.name] && (p == "sip" || p == "xmpp") {
				r.doc = "*configurable*. " + r.doc
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", r.name, r.value, r.doc)
			if r.doc == "" {
				t.Errorf("%s.%s: a limit without a word on what it bounds", p, r.name)
			}
		}
	}
	generated(t, "docs/limits.md", b.String())
}

// generated compares a document with what it should be, or writes it.
func generated(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(path)
	if err != nil || string(have) != want {
		t.Errorf("%s is not what the code says (%v): go test . -update", path, err)
	}
}

type limit struct{ name, value, doc string }

func limitsOf(t *testing.T, dir string) []limit {
	t.Helper()
	fset := token.NewFileSet()
	files, err := filepath.Glob(dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var fields, consts []limit
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, f, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			last := "" // comment of this declaration
			for i, s := range g.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					if st, ok := s.Type.(*ast.StructType); ok && s.Name.Name == "Limits" && dir != "config" {
						fields = append(fields, structLimits(st)...)
					}
				case *ast.ValueSpec:
					if g.Tok == token.CONST && len(s.Values) == 1 && isLimit.MatchString(s.Names[0].Name) {
						doc := words(s.Doc, s.Comment)
						if doc == "" && i == 0 {
							doc = words(g.Doc)
						}
						name := s.Names[0].Name
						if doc == "" { // one comment for several, or a name that says it
							doc = plain(name)
							if strings.Contains(last, name) {
								doc = last
							}
						} else {
							last = doc
						}
						consts = append(consts, limit{name, source(fset, s.Values[0]), sentence(name, doc)})
					}
				}
			}
		}
	}
	return append(fields, consts...)
}

var (
	defaultIs   = regexp.MustCompile(`\s*[Dd]efault:? ([^.;]+?)\.?$`)
	trailingNum = regexp.MustCompile(`[.;] ?([0-9][0-9A-Za-z]*)(: no limit)?$`)
)

func structLimits(st *ast.StructType) []limit {
	var out []limit
	for _, f := range st.Fields.List {
		doc, value := words(f.Doc, f.Comment), "see text"
		if m := defaultIs.FindStringSubmatch(doc); m != nil {
			value, doc = m[1], strings.TrimSpace(strings.TrimSuffix(doc, m[0]))
		} else if m := trailingNum.FindStringSubmatch(doc); m != nil {
			value, doc = m[1]+m[2], strings.TrimSuffix(doc, m[0])+"."
		}
		for _, n := range f.Names {
			out = append(out, limit{n.Name, value, sentence(n.Name, doc)})
		}
	}
	return out
}

func words(groups ...*ast.CommentGroup) string {
	for _, g := range groups {
		if g != nil {
			return strings.ReplaceAll(strings.Join(strings.Fields(g.Text()), " "), "|", "\\|")
		}
	}
	return ""
}

// plain says a name in words: maxHeldWords, held words.
func plain(name string) string {
	name = name[3:]
	return strings.ToLower(strings.TrimSpace(regexp.MustCompile(`[A-Z]`).ReplaceAllString(name, " $0")))
}

// sentence drops the name that begins a doc comment, since it stands beside it.
func sentence(name, doc string) string {
	for _, is := range []string{" is ", " bounds ", " "} {
		if rest, ok := strings.CutPrefix(doc, name+is); ok {
			return rest
		}
	}
	return doc
}

var shifted = regexp.MustCompile(`^(\d+) << (10|20|30)$`)

func source(fset *token.FileSet, e ast.Expr) string {
	var b strings.Builder
	if err := printer.Fprint(&b, fset, e); err != nil {
		return err.Error()
	}
	s := b.String()
	if unit := map[string]string{"time.Hour": "1 h", "time.Minute": "1 min", "time.Second": "1 s"}[s]; unit != "" {
		return unit
	}
	if m := shifted.FindStringSubmatch(s); m != nil {
		return m[1] + map[string]string{"10": " Ki", "20": " Mi", "30": " Gi"}[m[2]]
	}
	return strings.NewReplacer("time.Second", "s", "time.Minute", "min", "time.Hour", "h", "time.Millisecond", "ms", " * ", " ", "_", "").Replace(s)
}
