// Package nodetest runs whole federations of real VRs in one process, for tests.
//
// A World lies on the in-memory Internet of transporttest, so inside a testing/synctest bubble hours
// pass in seconds. Its VRs are package node's, made as the command line makes them: the first founds
// the federation, the others join knowing only a seed's address. Hosts send and receive through a
// ChannelDevice. Only tests import this package.
package nodetest
