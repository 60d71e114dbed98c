package config

// The raw structs mirror the file. The tags are the documentation: doc is the meaning, def the
// default as TOML text, both printed by AppendDefault.

type rawFile struct {
	State      string          `toml:"state" doc:"Directory of keys and documents. Empty: /var/lib/vine for root, else under XDG_STATE_HOME." def:"\"\""`
	Control    string          `toml:"control" doc:"Unix socket of the management API. Empty: /run/vine/vine.sock for root, else under XDG_RUNTIME_DIR." def:"\"\""`
	API        rawAPI          `toml:"api" doc:"The management API over the network, for whoever holds a user key of the federation."`
	Underlay   rawUnderlay     `toml:"underlay" doc:"How this VR meets the Internet."`
	Capture    rawCapture      `toml:"capture" doc:"How packets of the LAN reach this VR."`
	Attachment []rawAttachment `toml:"attachment" doc:"LAN interfaces that this VR serves. Without any, one attachment serves every VN."`
	HostPage   rawHostPage     `toml:"host_page" doc:"The page for hosts, which only they can reach: curl http://GATEWAY/"`
	Scale      rawScale        `toml:"scale" doc:"A command that starts one more VR of this site when there is much to do, and stops one when there is little. Where VRs share a gateway address; the one that answers for it decides."`
	Queue      rawQueue        `toml:"queue" doc:"Queue-VRs: relays for sites that can only dial out."`
	Gossip     rawGossip       `toml:"gossip" doc:"Membership and the stock serf command."`
	Authority  rawAuthority    `toml:"authority" doc:"Used only on the VR that holds the authority key."`
	Alerts     rawAlerts       `toml:"alerts" doc:"How people are told when something is wrong, and when that is over; vine alerts test tries it. Read at the start."`
	Log        rawLog          `toml:"log" doc:"What is written to standard error."`
}

type rawAPI struct {
	Listen string   `toml:"listen" doc:"TCP address and port of the management API, by TLS with a key on both sides. Empty: only the unix socket." def:"\"\""`
	Names  []string `toml:"names" doc:"Host names by which callers may name this machine, beside its addresses." def:"[]"`
}

type rawUnderlay struct {
	Listen    string   `toml:"listen" doc:"UDP address and port to listen on." def:"\"[::]:8463\""`
	Endpoints []string `toml:"endpoints" doc:"Addresses and ports at which other sites reach this VR, best first; at most 8. Empty: found out from what peers observe." def:"[]"`
	Kind      string   `toml:"kind" doc:"regular: reachable from outside; limited: can only dial out; auto: find out." def:"\"auto\""`
	MTU       int      `toml:"mtu" doc:"Largest IP packet, in bytes, that may be made on the way to other sites; 1124 to 9000. A path that carries less is found out, down to 1124." def:"1500"`
	AES       string   `toml:"aes" doc:"auto: our own AES-GCM for processors with VAES and AVX-512 or AVX2, if a trial at the start agrees with the standard library; standard: always the standard library." def:"\"auto\""`
	Offload   string   `toml:"offload" doc:"auto: hand the kernel many datagrams at once, and take them so, if a trial at the start shows that it does it right; off: one by one." def:"\"auto\""`
	Lanes     int      `toml:"lanes" doc:"Goroutines that carry packets, each with a queue of the TUN device and a socket of its own on the same port; 1 to 16. It takes effect at the next start." def:"1"`
	Joinable  bool     `toml:"joinable" doc:"Answer newcomers that know only our address. Off: complete silence to strangers." def:"true"`
	Streams   []string `toml:"streams" doc:"Where stream connections are taken from sites that UDP does not leave: tls://ADDRESS:PORT (WebSocket over TLS) and tcp://ADDRESS:PORT. A port that is taken is left out with a warning." def:"[\"tls://[::]:443\", \"tcp://[::]:8463\"]"`
	Proxy     string   `toml:"proxy" doc:"Proxy for stream connections: http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT, with USER:PASSWORD@ if need be. Empty: what HTTPS_PROXY, ALL_PROXY and NO_PROXY say; none: no proxy." def:"\"\""`
	Mapping   bool     `toml:"port_mapping" doc:"Ask the gateway to map our port by PCP, NAT-PMP or UPnP, where we are behind one." def:"true"`
}

type rawQueue struct {
	Use      []string `toml:"use" doc:"Names of the queue-VRs that this VR attaches to if it is limited. Empty: chosen by its own measurement." def:"[]"`
	Serve    bool     `toml:"serve" doc:"Relay for limited VRs if this one is regular and its enrolment allows it." def:"true"`
	Rate     string   `toml:"rate" doc:"What this VR relays at most, such as 100Mbit, shared fairly among those it serves. Set it to nine tenths of what the line carries: then packets wait here, in turn, and not in the line, and limited VRs can measure how busy this VR is and spread over several. Empty: no limit." def:"\"\""`
	Capacity string   `toml:"capacity" doc:"What the link record says that this VR can relay, such as 1Gbit. People may read it; no choice follows it." def:"\"\""`
	Mode     string   `toml:"mode" doc:"How a limited VR gets its packets: channel (always open), udp-poll or tcp-poll (asked for, for networks that kill idle channels; tcp-poll dials nothing by UDP)." def:"\"channel\""`
	Interval string   `toml:"interval" doc:"Pause between two polls, 50ms to 1s." def:"\"500ms\""`
}

type rawCapture struct {
	Kind   string `toml:"kind" doc:"tun: the kernel routes packets into a TUN device; tap: into a TAP device; raw: packet sockets take them off the LAN interfaces; nfqueue: netfilter queues do (all Linux, root); none: carry no packets of a LAN." def:"\"tun\""`
	Device string `toml:"device" doc:"Name of the TUN or TAP device, at most 15 bytes." def:"\"vine0\""`
	MTU    int    `toml:"mtu" doc:"Largest packet taken from the LAN, bytes. 1280 always passes; 1400 leaves room for the outer headers on a 1500-byte underlay." def:"1400"`
}

type rawHostPage struct {
	Listen string `toml:"listen" doc:"Port of the page on the LAN interfaces of the attachments, as :PORT, or ADDRESS:PORT for one address there. A port that is taken is tried again. Empty: no page." def:"\":80\""`
}

type rawAttachment struct {
	Interface string   `toml:"interface" doc:"LAN interface, such as eth1." def:"\"\""`
	VNs       []string `toml:"vns" doc:"Names of the VNs served here. Empty: all." def:"[]"`
	Subnets   []string `toml:"subnets" doc:"Networks of this LAN that lie inside the ViNe space, because its hosts are members of VNs by the addresses that they have anyway. Only with tun and tap." def:"[]"`
	Gateway   []string `toml:"gateway" doc:"Addresses, one of each family, that the VRs of this site which share blocks have together as the gateway of hosts: one of them answers for it, and another within a second when that one dies. The same at all of them, and an address of no other machine." def:"[]"`
	Device    string   `toml:"device" doc:"A device of its own, needed where one local address is in two VNs: the name for tun and tap. Empty: the common one." def:"\"\""`
}

type rawScale struct {
	Command     []string `toml:"command" doc:"Program and arguments; grow or shrink follows as the last one. vine site scale --help says what it is told. Empty: nothing watches." def:"[]"`
	Measure     string   `toml:"measure" doc:"cpu: processor time of the VR in percent of the processors that its lanes can use; packets: packets that it sends to and gets from other sites, a second." def:"\"cpu\""`
	High        int      `toml:"high" doc:"Above this there are too few VRs." def:"80"`
	Low         int      `toml:"low" doc:"Below this there are too many; at most half of high." def:"20"`
	GrowAfter   string   `toml:"grow_after" doc:"How long the load has to be above high." def:"\"30s\""`
	ShrinkAfter string   `toml:"shrink_after" doc:"How long the load has to be below low." def:"\"10m\""`
	Rest        string   `toml:"rest" doc:"Pause after the command has run." def:"\"5m\""`
	Least       int      `toml:"least" doc:"VRs that stay in any case." def:"1"`
	Most        int      `toml:"most" doc:"VRs that there may be; at most 16." def:"2"`
}

type rawGossip struct {
	RPC   string `toml:"rpc" doc:"Loopback address for the stock serf command, read-only. Empty: off." def:"\"127.0.0.1:7373\""`
	Token string `toml:"rpc_token" doc:"If set, serf must be called with -rpc-auth=TOKEN." def:"\"\""`
}

type rawAuthority struct {
	AutoAdmit string `toml:"auto_admit" doc:"Who joins without a person's word: invite (holders of an invite), open (anybody), never." def:"\"invite\""`
}

type rawLog struct {
	Level  string `toml:"level" doc:"debug, info, warn or error." def:"\"info\""`
	Format string `toml:"format" doc:"text or json." def:"\"text\""`
}

type rawAlerts struct {
	Command      []string `toml:"command" doc:"A program and its arguments, run for each alert: it gets JSON on standard input, and VINE_ALERT_KIND, _SUBJECT, _TEXT, _STATE and others in its environment." def:"[]"`
	Webhook      string   `toml:"webhook" doc:"An http or https URL to which each alert is posted as JSON." def:"\"\""`
	WebhookKey   string   `toml:"webhook_key_file" doc:"A file whose content is the key for the header Vine-Signature, HMAC-SHA-256 of what is posted. Empty: no signature." def:"\"\""`
	MailServer   string   `toml:"mail_server" doc:"HOST:PORT of a server that takes mail, with STARTTLS if it can." def:"\"\""`
	MailFrom     string   `toml:"mail_from" doc:"The sender's address." def:"\"\""`
	MailTo       []string `toml:"mail_to" doc:"The receivers' addresses." def:"[]"`
	MailUser     string   `toml:"mail_user" doc:"For a server that wants to know who sends. Empty: nothing is said." def:"\"\""`
	MailPassword string   `toml:"mail_password_file" doc:"A file whose content is the password." def:"\"\""`
}
