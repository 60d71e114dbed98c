package tables

// Skip switches off one defence of s, to show that the attack that it stops would work.
func (s *Store) Skip(defence string) { s.skip = map[string]bool{defence: true} }

// SealKeyCheap is SealKey at a cost that tests can pay often.
func SealKeyCheap(passphrase []byte, key []byte, random reader) ([]byte, error) {
	return sealKey(random, passphrase, key, kdfCost{passes: 1, memory: 64, lanes: 1})
}

type reader interface{ Read([]byte) (int, error) }

// DecodeBody and EncodeBody are the codec beneath the envelope.
func DecodeBody(k Kind, b []byte) (Body, error) { return decodeBody(k, b) }

// EncodeBody returns the one encoding of b.
func EncodeBody(b Body) []byte { return must(encMode.Marshal(b)) }
