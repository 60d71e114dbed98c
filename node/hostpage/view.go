package hostpage

import (
	"fmt"
	"html/template"
	"net/netip"
	"strings"
	texttemplate "text/template"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/hosts"
)

// A view is what the page shows.
type view struct {
	VR, Site string
	Host     string // as the VR was called
	From     netip.Addr
	MAC      hosts.MAC
	Known    []known
	Requests []control.HostRequest
	Missing  []string
}

// A known is one address of the machine and how it is used.
type known struct {
	control.LANHost
	Seen string
}

// VNText lists the VNs.
func (k known) VNText() string {
	if len(k.VNs) == 0 {
		return "no virtual network"
	}
	return strings.Join(k.VNs, ", ")
}

// NameText returns the name, if it has one.
func (k known) NameText() string {
	if k.Name == "" {
		return "(no name)"
	}
	return k.Name
}

// find notes what the machine lacks.
func (v *view) find() {
	open := false
	for _, r := range v.Requests {
		open = open || r.State != string(hosts.Denied)
	}
	if len(v.Known) == 0 && !open {
		v.Missing = append(v.Missing, fmt.Sprintf("an address. Ask to be in a virtual network: curl -X POST http://%s/join -d vn=NAME", v.Host))
	}
	for _, k := range v.Known {
		switch k.Seen {
		case seenNot:
			v.Missing = append(v.Missing, fmt.Sprintf("%v is not set up on this machine: curl -s http://%s/setup.sh | sudo sh (to last: setup.sh?lasting; Windows: irm http://%s/setup.ps1 | iex)", k.Addr, v.Host, v.Host))
		case seenOther:
			v.Missing = append(v.Missing, fmt.Sprintf("%v is used by another machine: tell the administrator of this site", k.Addr))
		}
		if len(k.VNs) == 0 && !open {
			v.Missing = append(v.Missing, fmt.Sprintf("%v is in no virtual network. Ask: curl -X POST http://%s/join -d vn=NAME", k.Addr, v.Host))
		}
	}
}

var pageText = texttemplate.Must(texttemplate.New("text").Parse(`ViNe virtual router {{.VR}} of site {{.Site}}

You are    {{.From}}, MAC {{.MAC}}
{{- range .Known}}
Host       {{.NameText}}, {{.Addr}}, {{.Seen}}
Member of  {{.VNText}}
{{- else}}
Host       not known here
{{- end}}
{{- range .Requests}}
Request {{.ID}}  {{.VN}}: {{.State}}{{with .Reason}}: {{.}}{{end}}
{{- end}}
{{- range .Missing}}
Missing    {{.}}
{{- else}}
Missing    nothing
{{- end}}
`))

var pageHTML = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>ViNe virtual router {{.VR}}</title></head><body>
<h1>ViNe virtual router {{.VR}}</h1>
<p>Site {{.Site}}. You are {{.From}}, MAC {{.MAC}}.</p>
{{range .Known}}<p>Host <b>{{.NameText}}</b>, {{.Addr}}, {{.Seen}}. Member of {{.VNText}}.</p>
{{else}}<p>This machine is not known here.</p>
{{end}}{{if .Requests}}<ul>{{range .Requests}}<li>Request {{.ID}}, {{.VN}}: {{.State}}{{with .Reason}}: {{.}}{{end}}</li>
{{end}}</ul>
{{end}}{{if .Missing}}<h2>Missing</h2><ul>{{range .Missing}}<li>{{.}}</li>
{{end}}</ul>
{{end}}{{if .Known}}<p>Scripts: <a href="/setup.sh">Linux, macOS</a>, <a href="/setup.ps1">Windows</a>.</p>
{{end}}<form method="post" action="/join">
<label>Virtual network <input name="vn" required pattern="[a-z0-9-]{1,63}" maxlength="63"></label>
<button>Ask to be in it</button>
</form>
</body></html>
`))
