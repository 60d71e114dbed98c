// Package tablestest makes whole federations for tests: root, authority, enrolled VRs with their
// keys, users, VNs with manifest, fragments and rosters, all signed and all the same for the same
// seed.
//
//	f := tablestest.New(1, 4)                   // root, head, vr1..vr4 at sites s1..s4
//	f.SetVN("red", f.Hosts(1, 2, 3)...)         // a VN with one host behind each of three VRs
//	store := f.Store()                          // a store that holds all of it
//
// It panics on what the real store would refuse. Only tests may import it.
package tablestest
