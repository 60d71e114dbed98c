// Package segment keeps super-packets whole: what the kernel hands over as one packet of up to 64 KB is cut into segments
// only when it is sealed, and the receiver joins the segments again. It is pure: it neither reads nor writes a device.
//
// A super-packet is one IP packet of TCP or UDP whose payload stands for several packets of Packet.GSOSize bytes each. Its
// transport checksum is partial: the field holds the sum of the pseudo-header only, and whoever sends it on a real wire adds
// the rest. Only this one bit and the segment size travel between VRs. Where headers begin and end, what kind of offload
// it is and what the seed of the checksum is, each side finds out for itself: a peer must not be able to hand our kernel
// offsets of its choice.
package segment
