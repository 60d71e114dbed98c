// Package capturetest holds the contract test of capture.Device, which every back end must pass,
// and ChannelDevice, an in-memory back end for tests of the packages above.
//
// ChannelDevice works inside a testing/synctest bubble; the contract test does not need one.
// Only tests may import the package.
package capturetest
