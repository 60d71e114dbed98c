package frame

import "testing"

func TestReceiverOf(t *testing.T) {
	const index = 0x01020300
	for name, b := range map[string][]byte{
		"response":    Response{Sender: 9, Receiver: index, Noise: make([]byte, 64)}.Append(nil),
		"cookie":      Cookie{Receiver: index}.Append(nil),
		"join cookie": JoinCookie{Receiver: index}.Append(nil),
		"join reply":  JoinReply{Sender: 9, Receiver: index, Noise: make([]byte, 96)}.Append(nil),
		"join finish": JoinFinish{Receiver: index, Noise: make([]byte, 64)}.Append(nil),
		"control":     ControlHeader{Receiver: index, Counter: 5}.Append(nil),
		"relay":       append(Relay{Index: index, Counter: 5, Source: 7}.Append(nil, RelayOverhead), make([]byte, TagLen)...),
	} {
		if i, ok := ReceiverOf(b); i != index || !ok {
			t.Errorf("%s: %#x, %v", name, i, ok)
		}
		for n := range len(b) {
			if i, ok := ReceiverOf(b[:n]); ok && i != index {
				t.Errorf("%s of %d bytes: %#x", name, n, i)
			}
		}
	}
	for _, typ := range []Type{0, TypeData, TypeInit, TypeJoinHello, TypeGossip, 12, 255} {
		b := make([]byte, HandshakeLen)
		b[0] = byte(typ)
		if _, ok := ReceiverOf(b); ok {
			t.Errorf("type %d names a receiver", typ)
		}
	}
}
