package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/vine-mesh/vine/internal/tomlfile"

	tomltest "github.com/toml-lang/toml-test/v2"
)

func TestPrintedDefaultIsTheDefault(t *testing.T) {
	text := string(AppendDefault(nil))
	got, err := Parse(strings.NewReader(text))
	if err != nil {
		t.Fatalf("the printed default is refused: %v\n%s", err, text)
	}
	if !reflect.DeepEqual(got, Default()) {
		t.Errorf("printed default gives %+v, an empty file %+v", got, Default())
	}
	for _, key := range tomlfile.Keys[rawFile]() {
		if last := key[strings.LastIndex(key, ".")+1:]; !strings.Contains(text, last) {
			t.Errorf("%s is not printed", key)
		}
	}
	// The commented part must be right too once somebody uncomments it.
	attachment := "[[attachment]]\ninterface = \"eth1\"\nvns = [\"physics\"]\ndevice = \"vine1\"\n"
	c, err := Parse(strings.NewReader(text + attachment))
	if err != nil || len(c.Attachments) != 1 || c.Attachments[0].Device != "vine1" {
		t.Errorf("attachment: %+v, %v", c.Attachments, err)
	}
}

func TestWrongFileNamesLineAndNearestKey(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"misspelt key", "[underlay]\nlisten = \"[::]:1\"\njoinabel = true\n", []string{"line 3", `"underlay.joinabel"`, `"underlay.joinable"`}},
		{"key in the wrong table", "auto_admit = \"open\"\n", []string{"line 1", `"authority.auto_admit"`}},
		{"misspelt table", "[captur]\nmtu = 1400\n", []string{"line 1", `"capture"`}},
		{"syntax", "[underlay]\nlisten = \n", []string{"line 2"}},
		{"wrong type", "[capture]\nmtu = \"big\"\n", []string{"line 2"}},
		{"every problem at once", "[underlay]\nlisten = \"nowhere\"\nkind = \"queer\"\n[capture]\nmtu = 5\n", []string{"line 2", "line 3", "line 5", "1280"}},
		{"rpc on a network", "[gossip]\nrpc = \"0.0.0.0:7373\"\n", []string{"line 2", "loopback"}},
		{"endpoint", "[underlay]\nendpoints = [\"example.org:1\"]\n", []string{"line 2", "example.org"}},
		{"endpoint that names a path", "[underlay]\nendpoints = [\"[100::1:2]:1\"]\n", []string{"line 2", "100::/64"}},
		{"nine endpoints", "[underlay]\nendpoints = [" + strings.Repeat("\"192.0.2.1\",", 9) + "]\n", []string{"at most 8"}},
		{"device name", "[capture]\ndevice = \"a-name-that-is-too-long\"\n", []string{"line 2", "15"}},
		{"gateway", "[[attachment]]\ninterface = \"eth1\"\ngateway = [\"192.168.1.254/24\"]\n", []string{"192.168.1.254/24", "fd00::fe"}},
		{"link-local gateway", "[[attachment]]\ninterface = \"eth1\"\ngateway = [\"fe80::1\"]\n", []string{"fe80::1"}},
		{"scale without a gateway", "[scale]\ncommand = [\"x\"]\n", []string{"line 2", "gateway"}},
		{"marks of scale", "[scale]\nhigh = 101\nlow = 60\nrest = \"x\"\nmost = 17\nmeasure = \"x\"\n", []string{"line 3", "half of scale.high", "line 4", "line 5", "line 6"}},
		{"gateway twice", "[[attachment]]\ninterface = \"eth1\"\ngateway = [\"10.0.0.1\"]\n[[attachment]]\ninterface = \"eth2\"\ngateway = [\"10.0.0.1\"]\n", []string{"10.0.0.1 stands twice"}},
		{"subnet of a LAN", "[[attachment]]\ninterface = \"eth1\"\nsubnets = [\"192.168.1.1/24\"]\n", []string{"192.168.1.0/24"}},
		{"page for hosts", "[host_page]\nlisten = \"80\"\n", []string{"line 2", ":PORT"}},
		{"page for hosts, everywhere", "[host_page]\nlisten = \"0.0.0.0:80\"\n", []string{"line 2", ":PORT"}},
		{"page for hosts, port", "[host_page]\nlisten = \":0\"\n", []string{"line 2", ":PORT"}},
		{"attachment twice", "[[attachment]]\ninterface = \"eth1\"\n[[attachment]]\ninterface = \"eth1\"\n", []string{"twice"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse(strings.NewReader(tt.text))
			if err == nil {
				t.Fatalf("accepted as %+v", c)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %s", err, want)
				}
			}
		})
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vine.toml")
	if _, err := Load(path, false); err == nil {
		t.Error("an absent file was accepted")
	}
	if _, err := Load(path, true); err != nil {
		t.Errorf("an optional absent file: %v", err)
	}
	if err := os.WriteFile(path, []byte("[log]\nlevel = \"loud\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, true); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v does not name the file", err)
	}
}

// TestTOMLSuite runs the invalid documents of the TOML project's own suite: every one must be
// refused, and the valid ones, which hold none of our keys, must be refused for their keys or
// values without a panic.
func TestTOMLSuite(t *testing.T) {
	files := tomltest.TestCases()
	invalid := 0
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".toml") {
			return err
		}
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		_, perr := Parse(strings.NewReader(string(text)))
		if strings.Contains(path, "invalid/") {
			invalid++
			if perr == nil {
				t.Errorf("%s: accepted", path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if invalid < 400 {
		t.Fatalf("only %d invalid documents found; the suite has moved", invalid)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(string(AppendDefault(nil)))
	f.Add("[[attachment]]\ninterface = \"x\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		Parse(strings.NewReader(text))
	})
}

func TestHostPageListen(t *testing.T) {
	for text, want := range map[string]string{"": ":80", `""`: "", `":8080"`: ":8080", `"192.168.1.2:80"`: "192.168.1.2:80", `"[fd00::2]:80"`: "[fd00::2]:80"} {
		file := ""
		if text != "" {
			file = "[host_page]\nlisten = " + text + "\n"
		}
		c, err := Parse(strings.NewReader(file))
		got := ""
		if at := c.HostPage; at.Addr().IsValid() {
			got = at.String()
		} else if at.Port() != 0 {
			got = ":" + strconv.Itoa(int(at.Port()))
		}
		if err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
}
