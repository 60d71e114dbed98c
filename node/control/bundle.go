package control

import (
	"context"
	"io"
	"mime"
	"net/http"
)

// BundleBytesMax bounds a bundle: the documents of some ten thousand VRs.
const BundleBytesMax = 64 << 20

// typeBundle is the media type of a bundle: see "Bundle" in docs/wire.md.
const typeBundle = "application/vnd.vine.bundle"

// Imported says what became of the documents of a bundle.
type Imported struct {
	Kept    int      `json:"kept"`  // were news, and are on this VR's disk
	Known   int      `json:"known"` // the VR had these or later ones
	Refused int      `json:"refused"`
	Reasons []string `json:"reasons"` // why the first of those were refused
}

// Bundles is the part of a Router that moves documents by file, to and from an authority on a machine without a network.
type Bundles interface {
	// Bundle returns the envelopes of all documents that this VR has.
	Bundle(ctx context.Context) ([][]byte, error)
	// Import takes documents of a bundle as from the network: each has to prove itself. When it returns without an error
	// those that it has kept are on disk.
	Import(ctx context.Context, bundle []byte) (Imported, error)
}

// Bundle implements Router.
func (c *Client) Bundle(ctx context.Context) ([][]byte, error) {
	return read[[][]byte](ctx, c, pathBundle, "documents", 0)
}

// Import implements Router.
func (c *Client) Import(ctx context.Context, bundle []byte) (Imported, error) {
	var out struct{ Imported Imported }
	err := c.doAs(ctx, http.MethodPost, pathBundle, typeBundle, bundle, answerPatience, &out) // the signatures of a large one take as long as that
	return out.Imported, err
}

// importBundle answers POST bundle.
func importBundle(router Router, q *http.Request) (int, any, error) {
	if media, _, err := mime.ParseMediaType(q.Header.Get("Content-Type")); err != nil || media != typeBundle {
		return 0, nil, plain(http.StatusUnsupportedMediaType, "the body must be a bundle, sent as %s", typeBundle)
	}
	bundle, err := io.ReadAll(q.Body)
	if err != nil {
		return 0, nil, readError(err)
	}
	if len(bundle) == 0 {
		return 0, nil, plain(http.StatusBadRequest, "the body is empty; it must be a bundle")
	}
	out, err := router.Import(q.Context(), bundle)
	return http.StatusOK, named("imported", out), err
}
