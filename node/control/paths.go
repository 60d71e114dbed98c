package control

// The resources, below a prefix that carries the version of the interface.
const (
	pathPrefix   = "/api/v1/"
	pathStatus   = pathPrefix + "status"
	pathMembers  = pathPrefix + "members"
	pathSites    = pathPrefix + "sites"
	pathVRs      = pathPrefix + "vrs"
	pathHosts    = pathPrefix + "hosts"
	pathVNs      = pathPrefix + "vns"
	pathRoutes   = pathPrefix + "routes"
	pathLinks    = pathPrefix + "links"
	pathQueues   = pathPrefix + "queues"
	pathPaths    = pathPrefix + "paths"
	pathDrain    = pathPrefix + "drain"
	pathPending  = pathPrefix + "pending"
	pathDocs     = pathPrefix + "documents"
	pathUsers    = pathPrefix + "users"
	pathRequests = pathPrefix + "requests"
	pathPlans    = pathPrefix + "plans"
	pathBundle   = pathPrefix + "bundle"
	pathReload   = pathPrefix + "reload"
	pathAlerts   = pathPrefix + "alerts"
	pathMetrics  = pathPrefix + "metrics"
	pathEvents   = pathPrefix + "events"
	pathOpenAPI  = pathPrefix + "openapi.json"
)

const (
	typeJSON     = "application/json"
	typeProblem  = "application/problem+json"
	typeEnvelope = "application/octet-stream"
	typeEvents   = "text/event-stream"
	typeMetrics  = "text/plain; version=0.0.4; charset=utf-8"
)

// host is the host name in requests. A browser led to the socket by some proxy would name another.
const host = "vine"
