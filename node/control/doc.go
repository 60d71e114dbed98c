// Package control is the management interface of a running VR: HTTP and JSON on a unix socket, its
// server and its client.
//
// Reading needs no right but access to the socket. Whatever changes the federation is a signed
// tables.Request, made and signed by the caller and handed in as it is: the VR adds nothing to it, and
// the socket gives nobody a right that his key does not have.
//
// The package knows the VR only as a Router. Package node implements it; the command line uses the
// Client and nothing beside it.
package control
