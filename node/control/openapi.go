package control

import (
	_ "embed"
	"net/http"
)

// OpenAPI is the OpenAPI 3.1 document of the interface. It is made from the table of routes and the types of the
// answers, and TestOpenAPI holds it against them.
//
//go:embed openapi.json
var OpenAPI []byte

func openAPI(_ *streams, _ Router, w http.ResponseWriter, r *http.Request) error {
	write(w, http.StatusOK, typeJSON, OpenAPI)
	return nil
}
