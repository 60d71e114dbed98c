package control

import "time"

// A User is one right of one user: a grant of the authority or a delegation.
type User struct {
	Name        string    `json:"name"`
	Fingerprint string    `json:"fingerprint"`
	Key         string    `json:"key"` // 64 hexadecimal digits
	Role        string    `json:"role"`
	Scope       string    `json:"scope"`
	Until       time.Time `json:"until"`
	State       string    `json:"state"`     // "active", "ended" or "revoked"
	Delegated   bool      `json:"delegated"` // signed by the user who gave it, and not by the authority
	// By is who gave it: the name of the user who delegated, or at whose request the authority signed;
	// empty if that is not known. ByFingerprint is of his key.
	By            string `json:"by"`
	ByFingerprint string `json:"by_fingerprint"`
}

// An OpenRequest is a request other than to join that has no final answer yet.
type OpenRequest struct {
	ID       string    `json:"id"` // 64 hexadecimal digits
	Op       string    `json:"op"`
	About    string    `json:"about"` // for people
	User     string    `json:"user"`  // name of who asks, or his fingerprint
	Asked    time.Time `json:"asked"`
	State    string    `json:"state"` // "accepted" or "pending"
	Reason   string    `json:"reason"`
	WaitsFor []string  `json:"waits_for"` // sites whose consent is missing
}

// A Published is a document that a VR has taken from its user.
type Published struct {
	Key     string `json:"key"` // such as "grant:..."
	Version uint64 `json:"version"`
}
