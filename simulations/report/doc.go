// Package report turns runs of a simulation into what people read: CSV, charts as SVG, and one HTML page that needs nothing beside it.
package report
