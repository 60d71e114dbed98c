package node

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/internal/durable/durabletest"
	"github.com/vine-mesh/vine/node/hosts"
	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// A victim is a VR that holds the authority key, on a disk that loses power. Whatever it has told anybody has to be there after
// a restart from any disk that the power loss may leave.
type victim struct {
	*still
	disk   *durabletest.Disk
	random *steady
	rng    *rand.Rand

	// What others have been told.
	boot      uint64                          // the highest boot count that was used
	told      map[tables.DocKey]tables.Digest // by the index
	root      [16]byte                        // of the index when told was last brought up to date
	asked     []*asked
	router    tables.RouterID
	installed map[tables.VNID]uint64
	hosts     map[string]hostFact

	invites []tables.Token
	names   int
	seen    map[[32]byte]bool // disks that were looked at since the last thing was told
	points  int               // crash points
	looked  int               // of which were not the same disk again
	deep    int               // of which were in a restart after a crash
	faults  int               // syncs and writes that failed
	lost    int
	first   string
	// remote is the store of the authority where that is another VR, and pipe what it has signed and this VR may get. Nil: this VR is
	// the authority.
	remote *tables.Store
	pipe   []*tables.Document
	// early has the test believe what is not on disk, as those did who were told from memory.
	early bool
}

// An asked is a request: what it was, what its user was told of it, and how to see that it is done.
type asked struct {
	doc      *tables.Document
	accepted bool
	state    string
	done     func(v *tables.View) bool
}

// A hostFact is what is known of one name in the list of hosts: there or not, or a change under way.
type hostFact struct{ there, changing bool }

func newVictim(t *testing.T, seed uint64) *victim {
	v := &victim{
		still: &still{t: t, sent: newOutbox(1 << 12)}, disk: durabletest.New(), random: &steady{n: seed}, rng: rand.New(rand.NewPCG(seed, 2)),
		told: map[tables.DocKey]tables.Digest{}, installed: map[tables.VNID]uint64{}, hosts: map[string]hostFact{}, seen: map[[32]byte]bool{},
	}
	dir, err := state.OpenOn(v.disk, "/state")
	v.check(err)
	founded, err := Found(time.Now(), Founding{Name: "still", VR: "alpha", Site: "alpha", UserName: "admin", Rand: v.random})
	v.check(err)
	v.check(founded.Store(dir))
	user := founded.Keys["user"]
	v.user = ed25519.NewKeyFromSeed(user[:])
	return v
}

// run starts the VR, has it work, and leaves it.
func (v *victim) run(steps int, faults bool) {
	v.disk.After = v.look
	v.disk.Fault = nil
	if faults {
		v.disk.Fault = func(op durabletest.Op) error {
			switch {
			case strings.HasPrefix(op.Kind, "sync") && v.rng.IntN(12) == 0:
				v.faults++
				return syscall.EIO
			case (op.Kind == "write" || op.Kind == "create") && v.rng.IntN(25) == 0:
				v.faults++
				return syscall.ENOSPC
			}
			return nil
		}
	}
	v.l = nil
	for v.l == nil { // a VR that cannot start is started again
		dir, err := state.OpenOn(v.disk, "/state")
		if err == nil {
			err = v.start(dir, v.random, "invite")
		}
		if err != nil && !faults {
			v.t.Fatal(err)
		}
	}
	v.boot = max(v.boot, v.l.n.self.boot)
	v.l.handle(v.l.start)
	if v.remote != nil {
		v.l.author = nil
	}
	for range steps {
		v.l.handle(func(now time.Time) { v.step(now) })
		if v.remote != nil {
			v.l.handle(v.deliver)
		}
		for v.rng.IntN(3) > 0 && v.one() {
		}
		if v.rng.IntN(4) == 0 {
			time.Sleep(time.Duration(v.rng.IntN(5000)) * time.Millisecond)
			v.l.handle(func(time.Time) {})
		}
	}
	for range 20 {
		v.wait(storeRetry)
	}
	v.note()
	v.disk.Fault = nil
}

// one does one piece of the clerk's work.
func (v *victim) one() bool {
	select {
	case j := <-v.l.clerk.desk:
		v.l.handle(func(now time.Time) { j.work()(now, v.l) })
		return true
	default:
		return false
	}
}

func (v *victim) name(what string) string {
	v.names++
	return fmt.Sprintf("%s%d", what, v.names)
}

// apart makes another VR the authority. What it signs comes by gossip, in pieces and in any order.
func (v *victim) apart() {
	dir, err := state.OpenOn(v.disk, "/state")
	v.check(err)
	raw, _, err := dir.Load()
	v.check(err)
	v.remote = tables.NewStore(tables.Hash{})
	var list []*tables.Document
	for _, b := range raw {
		d, err := tables.ParseDocument(b)
		v.check(err)
		list = append(list, d)
	}
	v.remote.Load(time.Now(), list, tables.FromDisk)
}

// decide has the other VR answer a request.
func (v *victim) decide(now time.Time, d *tables.Document) {
	_, err := v.remote.Put(now, d, tables.FromNetwork)
	if err != nil {
		return // too many wait
	}
	policy.Authority{Key: tables.PublicOf(v.authority), AutoAdmit: "invite"}.Work(now, v.remote.Snapshot, nil, func(bodies []tables.Body, _ *policy.Answer) bool {
		for _, b := range bodies {
			d, err := tables.Sign(b, v.authority)
			v.check(err)
			_, err = v.remote.Put(now, d, tables.FromDisk)
			v.check(err)
			v.pipe = append(v.pipe, d)
		}
		return true
	})
}

// deliver brings some of what the authority has signed, old or new, once or again.
func (v *victim) deliver(now time.Time) {
	var some []*tables.Document
	for range 1 + v.rng.IntN(6) {
		if len(v.pipe) > 0 {
			i := len(v.pipe) - 1 - min(v.rng.IntN(len(v.pipe)), v.rng.IntN(len(v.pipe)), v.rng.IntN(len(v.pipe)))
			some = append(some, v.pipe[i])
		}
	}
	_ = v.l.keep(now, some, 0)
}

// ask has a request handed in by the management interface.
func (v *victim) ask(now time.Time, key ed25519.PrivateKey, op string, args any, done func(view *tables.View) bool) {
	d, err := policy.NewRequest(now, v.random, key, op, args)
	v.check(err)
	if v.remote != nil {
		v.decide(now, d)
		done = nil // its parts come one by one
	}
	a := &asked{doc: d, done: done}
	v.asked = append(v.asked, a)
	stored := make(chan error, 1)
	v.l.submit(now, d, stored)
	v.l.backlog.whenStored(d.Key(), func(err error) {
		if err == nil && v.l.store.Get(d.Key()) != nil {
			a.accepted = true
			v.news()
		}
	})
}

// step does one thing that people or other VRs do.
func (v *victim) step(now time.Time) {
	block := v.l.n.pool(nil).Blocks[0].Addr().As4()
	host := func() netip.Addr { block[3] = byte(10 + v.rng.IntN(200)); return netip.AddrFrom4(block) }
	switch v.rng.IntN(11) {
	case 0, 1: // a newcomer with an invite, and another one with the same
		token, err := tables.NewToken(v.random, tables.Invite{Authority: tables.PublicOf(v.authority), NotAfter: now.Add(time.Hour).Unix()}, v.user)
		v.check(err)
		v.invites = append(v.invites, token)
		for range 2 {
			v.redeem(now, token)
		}
	case 2: // one with an old invite
		if len(v.invites) > 0 {
			v.redeem(now, v.invites[v.rng.IntN(len(v.invites))])
		}
	case 3:
		name := v.name("net")
		v.ask(now, v.user, policy.OpVNCreate, policy.VNCreateArgs{Name: name, Hosts: []netip.Addr{host()}}, func(view *tables.View) bool {
			_, ok := view.VNByName(name)
			return ok
		})
	case 4:
		if vns := v.l.store.VNs(); len(vns) > 0 {
			v.ask(now, v.user, policy.OpVNJoin, policy.VNHostsArgs{VN: vns[v.rng.IntN(len(vns))].Name, Hosts: []netip.Addr{host()}}, nil)
		}
	case 9, 10: // a new version
		store := v.l.store
		if v.remote != nil {
			store = v.remote
		}
		if vns := store.VNs(); len(vns) > 0 {
			vn := vns[v.rng.IntN(len(vns))]
			seal := tables.SealAuth
			if vn.Seal == seal {
				seal = tables.SealEncrypt
			}
			v.ask(now, v.user, policy.OpVNUpdate, policy.VNUpdateArgs{VN: vn.Name, Seal: seal}, nil)
		}
	case 5:
		var seed [32]byte
		_, _ = v.random.Read(seed[:])
		user := tables.PublicOf(ed25519.NewKeyFromSeed(seed[:]))
		v.ask(now, v.user, policy.OpUserGrant, policy.UserGrantArgs{User: user, Name: v.name("user"), Role: tables.RoleVNA, Scope: "federation", NotAfter: now.Add(24 * time.Hour).Unix()}, nil)
	case 6:
		name := fmt.Sprintf("desk%d", v.rng.IntN(4))
		was := v.hosts[name]
		if was.changing {
			return
		}
		v.hosts[name] = hostFact{was.there, true}
		v.news()
		v.l.book.put(now, change{
			of: func(_ time.Time, l hosts.Ledger) (hosts.Ledger, error) {
				if was.there {
					l, _, err := l.Remove(name)
					return l, err
				}
				l, _, err := l.Add(now, v.l.n.pool(nil), hosts.Ask{Name: name})
				return l, err
			},
			done: func(_ time.Time, err error) {
				if err != nil {
					return // it may be there or not, until it is asked for again
				}
				v.hosts[name] = hostFact{!was.there, false}
				v.news()
			},
		})
	case 7:
		v.l.compact()
	case 8:
		if list := v.l.store.Enrolments(); len(list) > 3 && v.rng.IntN(4) == 0 {
			v.ask(now, v.user, policy.OpRevoke, policy.RevokeArgs{VR: list[len(list)-1].Name, Reason: "test"}, nil)
		}
	}
}

// redeem has a newcomer of its own identity ask to join.
func (v *victim) redeem(now time.Time, token tables.Token) {
	var seed [32]byte
	_, _ = v.random.Read(seed[:])
	key := ed25519.NewKeyFromSeed(seed[:])
	identity := tables.PublicOf(key)
	v.ask(now, key, policy.OpJoin, policy.JoinArgs{
		Name: v.name("vr"), Site: "beta", Link: tables.LinkKey{1: seed[0], 2: seed[1], 3: 1},
		Invite: token.Document().Bytes(), Proof: token.Prove(v.l.n.self.Federation, identity),
	}, func(view *tables.View) bool {
		_, ok := view.EnrolmentByIdentity(identity)
		return ok || view.Revoked(identity)
	})
}

// news says that somebody was told something: a disk that was good enough before may not be any more.
func (v *victim) news() { clear(v.seen) }

// note brings up to date what others have been told: whoever asks is answered, and gossip tells the index.
func (v *victim) note() {
	if v.l == nil {
		return
	}
	if root := v.l.gossip.index.Root(); root != v.root {
		v.root = root
		for d := range v.l.gossip.index.All() {
			v.told[d.Key] = d
			if d.Key.Kind == tables.KindEnrolment {
				v.router = max(v.router, v.l.backlog.stored.NextRouter()-1)
			}
		}
		v.news()
	}
	for _, vn := range v.l.installed {
		if v.installed[vn.VN.ID] < vn.VN.Version {
			v.installed[vn.VN.ID] = vn.VN.Version
			v.news()
		}
	}
	for _, a := range v.asked {
		out, known := v.l.outcome(a.doc.Hash())
		if receipt, ok := v.l.store.Receipt(a.doc.Hash()); v.early && ok {
			out.State = receipt.State
		}
		if known && out.State != a.state && (out.State == tables.StateDone || out.State == tables.StateRefused) {
			a.state = out.State
			v.news()
		}
	}
}

// look crashes after an operation, in several ways, and starts again from what is on disk.
func (v *victim) look(op durabletest.Op) {
	v.note()
	for i := range 5 {
		v.points++
		var disk *durabletest.Disk
		switch i {
		case 0:
			disk = v.disk.Crash(nil)
		case 1:
			disk = v.disk.Kill()
		default:
			disk = v.disk.Crash(v.rng)
		}
		v.judge(op, disk, v.rng.IntN(150) == 0)
	}
}

// judge starts from a disk. With deep, the power goes again during that start.
func (v *victim) judge(op durabletest.Op, disk *durabletest.Disk, deep bool) {
	sum := disk.Sum()
	if v.seen[sum] && !deep {
		return
	}
	v.seen[sum] = true
	v.looked++
	if deep {
		disk.After = func(again durabletest.Op) {
			for range 3 {
				v.points, v.deep = v.points+1, v.deep+1
				v.judge(again, disk.Crash(v.rng), false)
			}
		}
	}
	if what := v.wrong(disk); what != "" {
		v.lost++
		if v.first == "" {
			v.first = fmt.Sprintf("crash after %s of %s: %s", op.Kind, op.Name, what)
		}
	}
}

// wrong starts a VR from a disk and says what it has lost.
func (v *victim) wrong(disk *durabletest.Disk) string {
	dir, err := state.OpenOn(disk, "/state")
	if err != nil {
		return err.Error()
	}
	log := slog.New(slog.DiscardHandler)
	n := &Node{options: Options{State: dir, Log: log}, log: log}
	now := time.Now()
	store, err := n.load(now)
	if err != nil {
		return err.Error()
	}
	if n.self.boot <= v.boot {
		return fmt.Sprintf("boot count %d was used", n.self.boot)
	}
	for key, d := range v.told {
		have := store.Get(key)
		switch {
		case have == nil && (key.Kind == tables.KindRequest || key.Kind == tables.KindReceipt): // withdrawn; what was acknowledged is below
		case have == nil && store.NextVersion(key) <= d.Version && key.Kind != tables.KindRoot:
			return fmt.Sprintf("%s, version %d, is forgotten", key, d.Version)
		case have != nil && have.Version() < d.Version:
			return fmt.Sprintf("%s went back from version %d to %d", key, d.Version, have.Version())
		case have != nil && have.Version() == d.Version && have.Hash() != d.Hash:
			return fmt.Sprintf("%s, version %d, is another one", key, d.Version)
		}
	}
	if next := store.NextRouter(); next <= v.router {
		return fmt.Sprintf("router ID %d will be given again", next)
	}
	view := store.Snapshot()
	installer := tables.NewInstaller(n.self.Router)
	restored := &loop{n: n, store: store, tables: installer, onDisk: map[tables.VNID]uint64{}}
	if err := restored.restore(); err != nil {
		return err.Error()
	}
	list, problems := installer.Update(view)
	if len(problems) > 0 && v.remote == nil {
		return fmt.Sprintf("a VN is half there: %+v", problems[0])
	}
	for _, vn := range list {
		if vn.VN.Version < v.installed[vn.VN.ID] {
			return fmt.Sprintf("%s is installed at version %d, was at %d", vn.VN.Name, vn.VN.Version, v.installed[vn.VN.ID])
		}
	}
	for id, version := range v.installed {
		if !slices.ContainsFunc(list, func(vn tables.Installed) bool { return vn.VN.ID == id }) {
			return fmt.Sprintf("%s is not installed, it was at version %d", id, version)
		}
	}
	for _, a := range v.asked {
		receipt, answered := view.Receipt(a.doc.Hash())
		_, there := view.Request(a.doc.Hash())
		done := answered && receipt.State == tables.StateDone
		op := a.doc.Body().(tables.Request).Op
		switch {
		case a.state != "" && receipt.State != a.state:
			return fmt.Sprintf("%s was acknowledged as %s and is %q", op, a.state, receipt.State)
		case a.accepted && !there && !answered:
			return op + " was accepted and is lost"
		case a.done != nil && done != a.done(view):
			return fmt.Sprintf("%s is half there: receipt %v", op, done)
		}
	}
	if what := v.wrongInvites(now, view); what != "" {
		return what
	}
	text, err := dir.Note(hostsNote)
	if err != nil {
		return err.Error()
	}
	ledger := hosts.Ledger{}
	if text != "" {
		if ledger, err = hosts.Parse(text); err != nil {
			return "list of hosts: " + err.Error()
		}
	}
	there := map[string]bool{}
	for _, h := range ledger.Hosts {
		there[h.Name] = true
	}
	for name, fact := range v.hosts {
		if !fact.changing && there[name] != fact.there {
			return fmt.Sprintf("host %s: on disk %v, acknowledged %v", name, there[name], fact.there)
		}
	}
	return ""
}

// wrongInvites says which invite admits twice.
func (v *victim) wrongInvites(now time.Time, view *tables.View) string {
	admitted := map[tables.PublicKey]int{}
	for d := range view.Documents() {
		if e, ok := d.Body().(tables.Enrolment); ok && e.Invite != (tables.PublicKey{}) {
			if admitted[e.Invite]++; admitted[e.Invite] > 1 {
				return "an invite has admitted two VRs"
			}
		}
	}
	for _, a := range v.asked {
		r := a.doc.Body().(tables.Request)
		var args policy.JoinArgs
		if v.remote != nil || r.Op != policy.OpJoin || a.state != tables.StateDone || tables.DecodeArgs(r.Args, &args) != nil {
			continue
		}
		for _, token := range v.invites {
			if string(token.Document().Bytes()) == string(args.Invite) && !view.InviteSpent(token.Invite().Key) {
				return "an invite that has admitted a VR can be used again"
			}
		}
	}
	return ""
}

// crashPoints is how many crash points a run of the tests tries, and each night.
func crashPoints() int {
	if os.Getenv("VINE_NIGHT") != "" {
		return 120_000
	}
	return 2_000
}

// TestCrashPoints: a VR works, as the authority or with another one's documents, on a disk that fails now and then, and the power goes after every operation on that disk. A VR
// that starts from what is there then, whole sectors or not, names old or new, has everything that anybody was told, nothing half,
// and gives nothing twice. After each run the next one goes on from one of these disks.
func TestCrashPoints(t *testing.T) {
	points, looked, deep, faults, seeds := 0, 0, 0, 0, 0
	for seed := uint64(1); points < crashPoints(); seed++ {
		synctest.Test(t, func(t *testing.T) {
			v := newVictim(t, seed)
			if seed%2 == 0 {
				v.apart()
			}
			for generation := range 3 {
				v.run(10, generation == int(seed/2%3))
				if v.lost > 0 {
					t.Fatalf("seed %d, generation %d: %s", seed, generation, v.first)
				}
				v.disk = v.disk.Crash(v.rng)
			}
			points, looked, deep, faults, seeds = points+v.points, looked+v.looked, deep+v.deep, faults+v.faults, seeds+1
		})
	}
	t.Logf("%d crash points (%d of them in a restart), %d different disks, %d operations failed, %d seeds", points, deep, looked, faults, seeds)
}

// TestCrashIsFound: the same test finds a disk that does not sync, and a VR that tells what is not on disk.
func TestCrashIsFound(t *testing.T) {
	for name, spoil := range map[string]func(v *victim){
		"files are not synced":       func(v *victim) { v.disk.Lies = func(op durabletest.Op) bool { return op.Kind == "sync" } },
		"directories are not synced": func(v *victim) { v.disk.Lies = func(op durabletest.Op) bool { return op.Kind == "syncdir" } },
		"told from memory":           func(v *victim) { v.early = true },
	} {
		t.Run(name, func(t *testing.T) {
			found := false
			for seed := uint64(1); seed <= 10 && !found; seed++ {
				synctest.Test(t, func(t *testing.T) {
					v := newVictim(t, seed)
					spoil(v)
					v.run(14, false)
					found = v.lost > 0
					if found {
						t.Log(v.first)
					}
				})
			}
			if !found {
				t.Error("nothing was found")
			}
		})
	}
}

// TestCrashFounding: a founder that has been told that it has a federation has it whole after a crash; one that has not, has it whole or
// counts as not enrolled.
func TestCrashFounding(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	for _, lies := range []bool{false, true} {
		founded, err := Found(time.Now(), Founding{Name: "still", VR: "alpha", Site: "alpha", UserName: "admin", Rand: &steady{}})
		if err != nil {
			t.Fatal(err)
		}
		disk, points, lost, stored := durabletest.New(), 0, "", false
		if lies {
			// As it was once: nobody synced the parents of a new directory.
			disk.Lies = func(op durabletest.Op) bool {
				return op.Kind == "syncdir" && !strings.HasPrefix(op.Name, "/var/lib/vine")
			}
		}
		look := func() {
			for range 20 {
				points++
				dir, err := state.OpenOn(disk.Crash(rng), "/var/lib/vine")
				if err != nil {
					t.Fatal(err)
				}
				log := slog.New(slog.DiscardHandler)
				n := &Node{options: Options{State: dir, Log: log}, log: log}
				store, err := n.load(time.Now())
				switch {
				case stored && err != nil:
					lost = err.Error()
				case err == nil && (store.Len() != founded.View.Len() || n.self.authority == nil):
					lost = "half a federation"
				case err != nil && !errors.Is(err, ErrNotEnrolled):
					lost = err.Error()
				}
			}
		}
		disk.After = func(durabletest.Op) { look() }
		dir, err := state.OpenOn(disk, "/var/lib/vine")
		if err != nil {
			t.Fatal(err)
		}
		if err := founded.Store(dir); err != nil {
			t.Fatal(err)
		}
		stored = true
		look()
		if (lost != "") != lies {
			t.Errorf("%d crash points, with a disk that lies %v: lost %q", points, lies, lost)
		}
	}
}

// TestDamagedBundleIsNoted: that a bundle is damaged, so that an authority may not know what it has signed, is not forgotten by a crash
// in that start. Once the bundle got its other name first, and the next start saw nothing wrong.
func TestDamagedBundleIsNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVictim(t, 1)
		names, err := v.disk.Names("/state/documents")
		v.check(err)
		v.check(v.disk.Damage("/state/documents/"+names[0], 40))
		log := slog.New(slog.DiscardHandler)
		starts := func(disk *durabletest.Disk) (note string) {
			dir, err := state.OpenOn(disk, "/state")
			v.check(err)
			_, err = LoadStore(dir, time.Now(), log)
			if err != nil && !errors.Is(err, ErrNotEnrolled) {
				t.Fatal(err)
			}
			note, err = dir.Note(incompleteNote)
			v.check(err)
			return note
		}
		v.disk.After = func(op durabletest.Op) {
			for range 10 {
				if starts(v.disk.Crash(v.rng)) == "" {
					t.Fatalf("crash after %s of %s: nobody knows of the damaged bundle", op.Kind, op.Name)
				}
			}
		}
		if starts(v.disk) == "" {
			t.Error("the damaged bundle is not noted")
		}
	})
}

// TestFailingSyncIsRefused: a sync that fails once is an error for whoever waits for it, which says what to do; what is asked for again,
// or was kept in memory, then is on disk, whatever that one sync has lost.
func TestFailingSyncIsRefused(t *testing.T) {
	for _, kind := range []string{"sync", "syncdir"} {
		for skip := range 3 { // of several syncs of one operation, each fails once
			synctest.Test(t, func(t *testing.T) {
				v := newVictim(t, uint64(skip))
				v.run(0, false)
				left, failed := skip, 0
				v.disk.After = nil
				v.disk.Fault = func(op durabletest.Op) error {
					if left--; op.Kind == kind && left < 0 && failed == 0 {
						failed++
						return syscall.EIO
					}
					return nil
				}
				d, err := policy.NewRequest(time.Now(), v.random, v.user, policy.OpVNCreate, policy.VNCreateArgs{Name: "blue"})
				v.check(err)
				stored, added := make(chan error, 1), make(chan error, 1)
				v.l.handle(func(now time.Time) { v.l.submit(now, d, stored) })
				v.work()
				v.l.handle(func(now time.Time) {
					v.l.book.put(now, change{
						of: func(now time.Time, l hosts.Ledger) (hosts.Ledger, error) {
							l, _, err := l.Add(now, v.l.n.pool(nil), hosts.Ask{Name: "desk"})
							return l, err
						},
						done: func(_ time.Time, err error) { added <- err },
					})
				})
				v.work()
				first := errors.Join(<-stored, <-added)
				if failed != 1 || first == nil && v.l.diskError == nil {
					t.Fatalf("%s: %d failed, and nobody was told: %v", kind, failed, first)
				}
				if first != nil && (!strings.Contains(first.Error(), "input/output error") || !strings.Contains(first.Error(), "mend")) {
					t.Errorf("%s: the error says %q", kind, first)
				}
				v.wait(storeRetry)
				v.wait(storeRetry)
				if out, _ := v.l.outcome(d.Hash()); out.State != tables.StateDone || v.l.diskError != nil {
					t.Errorf("%s: after the retry the request is %s, %v", kind, out.State, v.l.diskError)
				}
				v.note()
				if what := v.wrong(v.disk.Crash(nil)); what != "" {
					t.Errorf("%s: %s", kind, what)
				}
			})
		}
	}
}

// TestNextVersionWaitsForTheSet: a part of the next version of a VN is not written before the installed one is kept together. Once it was,
// when it came within milliseconds, and a start in between found no version of the VN.
func TestNextVersionWaitsForTheSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVictim(t, 1)
		v.apart()
		v.run(0, false)
		block := v.l.n.pool(nil).Blocks[0].Addr().As4()
		block[3] = 20
		v.ask(time.Now(), v.user, policy.OpVNCreate, policy.VNCreateArgs{Name: "blue", Hosts: []netip.Addr{netip.AddrFrom4(block)}}, nil)
		v.work()
		v.keep(v.pipe...)
		v.one()
		first := len(v.pipe)
		d, err := policy.NewRequest(time.Now(), v.random, v.user, policy.OpVNUpdate, policy.VNUpdateArgs{VN: "blue", Seal: tables.SealAuth})
		v.check(err)
		v.decide(time.Now(), d)
		for _, d := range v.pipe[first:] {
			if d.Kind() == tables.KindVN {
				v.keep(d)
			}
		}
		time.Sleep(publishAfter)
		v.l.handle(func(time.Time) {})
		v.work()
		v.note()
		if len(v.installed) != 1 || v.lost > 0 {
			t.Errorf("%d VNs installed; %s", len(v.installed), v.first)
		}
		vn, _ := v.l.store.VNByName("blue")
		if versions := v.told[tables.VNKey(vn.ID)].Version; versions != 2 {
			t.Errorf("version %d is told", versions)
		}
	})
}
