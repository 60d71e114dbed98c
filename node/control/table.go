package control

import (
	"context"
	"net/http"
	"reflect"
)

// A call answers one request at router with a document to be written as JSON.
type call func(router Router, r *http.Request) (status int, document any, err error)

// A route is one method of one resource, with what the OpenAPI document says of it. The table below is the only
// place where routes are named: the server, the document and the tests all read it.
type route struct {
	method, path string
	summary      string
	call         call
	// stream, if set, writes the answer itself, instead of call. An error that comes before anything is written
	// becomes a problem.
	stream func(s *streams, router Router, w http.ResponseWriter, r *http.Request) error

	status int          // of the answer when all is well
	media  string       // of that answer
	name   string       // what the document calls the result; empty: the document is the result
	result reflect.Type // of the result; nil: the answer has no schema
	takes  string       // media type of the request's body; empty: it has none
	most   int64        // bytes of the body; zero: bodyBytesMax
	asks   reflect.Type // of a body in JSON
	query  []parameter
}

// A parameter is one of a query or, in braces, of the path.
type parameter struct {
	name, text string
	required   bool
	kind       string // "string" or "integer"
}

// table has every route. To add one is to add a line here and to run
//
//	go test ./node/control -run TestOpenAPI -update-openapi
func table() []route {
	return []route{
		reading(pathStatus, "", "What the VR says of itself", Router.Status),
		reading(pathMembers, "members", "The VRs that gossip knows: hints", all(Router.Members)),
		reading(pathSites, "sites", "The sites and their VRs", all(Router.Sites)),
		reading(pathVRs, "vrs", "The enrolled VRs", all(Router.VRs)),
		reading(pathHosts, "hosts", "The member hosts of all VNs", all(Router.Hosts)),
		reading(pathVNs, "vns", "The virtual networks", all(Router.VNs)),
		one(pathVNs+"/{name}", "vn", "One virtual network; its ETag serves as If-Match of a request", vn, vnName),
		one(pathVNs+"/{name}/log", "log", "The log of a VN: who changed what", vnLog, vnName),
		one(pathVNs+"/{name}/log/{number}", "vn", "What a VN consisted of after an entry of its log", vnAt, vnName, parameter{name: "{number}", text: "number of the entry", kind: "integer"}),
		reading(pathRoutes, "routes", "The routing tables of the VNs (GNDT), as installed", all(Router.Routes)),
		reading(pathLinks, "links", "The links of the VR", all(Router.Links)),
		reading(pathQueues, "queues", "The queue-VRs that the VR uses, or whom it serves as one", Router.Queues),
		one(pathPaths, "paths", "The paths between two VRs", paths,
			parameter{name: "from", text: "name or router ID of a VR; left out: the VR that is asked"}, parameter{name: "to", text: "name or router ID of a VR", required: true}),
		reading(pathDrain, "drain", "How far the VR is emptied of those it serves", Router.Drained),
		do(http.MethodPost, pathDrain, "drain", "Begin to empty the VR of those it serves", drain(true)),
		do(http.MethodDelete, pathDrain, "drain", "Take that back", drain(false)),
		reading(pathPending, "pending", "Newcomers who wait for admission", all(Router.Pending)),
		reading(pathUsers, "users", "The grants of all users, and who gave them", all(Router.Users)),
		reading(pathRequests, "requests", "What has been asked for, and where it stands", all(Router.Requests)),
		{method: http.MethodPost, path: pathDocs, name: "document", summary: "Hand in a document that its user has signed, such as a delegation; 202 says that it is on the VR's disk",
			call: publish, status: http.StatusAccepted, media: typeJSON, result: reflect.TypeFor[Published](), takes: typeEnvelope},
		reading(pathDocs, "documents", "The documents that say who may sign", all(Router.Documents)),
		{method: http.MethodPost, path: pathRequests, name: "request", summary: "Hand in a signed request; 202 says that it is on the VR's disk",
			call: submit, status: http.StatusAccepted, media: typeJSON, result: reflect.TypeFor[Request](), takes: typeEnvelope},
		{method: http.MethodPost, path: pathPlans, name: "plan", summary: "What a signed request would do; it goes no further",
			call: plan, status: http.StatusOK, media: typeJSON, result: reflect.TypeFor[Plan](), takes: typeEnvelope},
		one(pathRequests+"/{id}", "request", "Where a request stands", request,
			parameter{name: "{id}", text: "64 hexadecimal digits"}, parameter{name: "wait", text: "seconds to wait for an outcome, cut to 60", kind: "integer"}),
		reading(pathLANHosts, "lan_hosts", "The VR's list of the hosts on its LAN", all(Router.LANHosts)),
		told(pathLANHosts, "host", "Give a host an address", addHost),
		do(http.MethodDelete, pathLANHosts+"/{name}", "host", "Release the address of a host", removeHost, parameter{name: "{name}", text: "name of the host"}),
		reading(pathHostRequests, "host_requests", "What hosts have asked for at the VR's page", all(Router.HostRequests)),
		told(pathHostRequests+"/{id}", "host_request", "Approve or deny what a host has asked for", answerHost, parameter{name: "{id}", text: "number of the request", kind: "integer"}),
		reading(pathBundle, "documents", "Every document that the VR has", all(Router.Bundle)),
		{method: http.MethodPost, path: pathBundle, name: "imported", summary: "Take the documents of a bundle, each of which has to prove itself",
			call: importBundle, status: http.StatusOK, media: typeJSON, result: reflect.TypeFor[Imported](), takes: typeBundle, most: BundleBytesMax},
		do(http.MethodPost, pathReload, "reloaded", "Read the configuration again", func(router Router, q *http.Request) (bool, error) {
			return true, router.Reload(q.Context())
		}),
		reading(pathAlerts, "alerts", "What is wrong now, and what became of telling people", Router.Alerts),
		do(http.MethodPost, pathAlerts+"/test", "hooks", "Try the ways to tell people", func(router Router, q *http.Request) ([]Hook, error) {
			return router.TryAlerts(q.Context())
		}),
		{method: http.MethodGet, path: pathMetrics, summary: "Counters and gauges, in Prometheus' text format", stream: metrics, status: http.StatusOK, media: typeMetrics},
		{method: http.MethodGet, path: pathEvents, summary: "What happens, as server-sent events; each has an Event as its data", stream: events, status: http.StatusOK, media: typeEvents},
		{method: http.MethodGet, path: pathOpenAPI, summary: "This document", stream: openAPI, status: http.StatusOK, media: typeJSON},
	}
}

// reading is a route that calls a method without arguments. With an empty name the document is the result itself.
func reading[T any](path, name, summary string, f func(Router, context.Context) (T, error)) route {
	return one(path, name, summary, func(router Router, r *http.Request) (T, error) { return f(router, r.Context()) })
}

// one is a route that reads.
func one[T any](path, name, summary string, f func(Router, *http.Request) (T, error), query ...parameter) route {
	return route{
		method: http.MethodGet, path: path, name: name, summary: summary, status: http.StatusOK, media: typeJSON, result: reflect.TypeFor[T](), query: query,
		call: func(router Router, r *http.Request) (int, any, error) {
			v, err := f(router, r)
			if name == "" {
				return http.StatusOK, v, err
			}
			return http.StatusOK, named(name, v), err
		},
	}
}

// do is a route that changes the VR itself.
func do[T any](method, path, name, summary string, f func(Router, *http.Request) (T, error), query ...parameter) route {
	r := one(path, name, summary, f, query...)
	r.method = method
	return r
}

// told is a route that changes the VR itself as the JSON in the body says.
func told[A, T any](path, name, summary string, f func(Router, *http.Request, A) (T, error), query ...parameter) route {
	r := do(http.MethodPost, path, name, summary, func(router Router, q *http.Request) (T, error) {
		var args A
		if err := readJSON(q, &args); err != nil {
			var none T
			return none, err
		}
		return f(router, q, args)
	}, query...)
	r.takes, r.asks = typeJSON, reflect.TypeFor[A]()
	return r
}

var vnName = parameter{name: "{name}", text: "name or ID of the VN"}

// all makes f return an empty list rather than none, so that the JSON never has null for a list.
func all[T any](f func(Router, context.Context) ([]T, error)) func(Router, context.Context) ([]T, error) {
	return func(router Router, ctx context.Context) ([]T, error) {
		list, err := f(router, ctx)
		if list == nil {
			list = []T{}
		}
		return list, err
	}
}

func vn(router Router, r *http.Request) (VN, error) {
	return router.VN(r.Context(), r.PathValue("name"))
}

func drain(begin bool) func(Router, *http.Request) (Drain, error) {
	return func(router Router, r *http.Request) (Drain, error) { return router.Drain(r.Context(), begin) }
}

// named returns a document that holds v under name.
func named(name string, v any) map[string]any {
	return map[string]any{"schema_version": SchemaVersion, name: v}
}
