package main

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
)

func newMetricsCommand(e *Env) *cobra.Command {
	return look[control.Metric]{
		name:  "metrics",
		short: "The VR's counters and gauges",
		long: `Lists what the VR counts and measures: packets, drops by reason, links with round trip time, loss
and bandwidth, documents, events, memory. A counter only grows, from 0 at the start of the VR; a gauge
is as it is now.

Prometheus reads the same figures at /api/v1/metrics of the management API.`,
		get:   func(c *control.Client, ctx context.Context) ([]control.Metric, error) { return c.Metrics(ctx) },
		head:  []string{"METRIC", "LABELS", "VALUE", "MEANING"},
		empty: "no metrics",
		row: func(m control.Metric) []string {
			var labels []string
			for _, k := range slices.Sorted(maps.Keys(m.Labels)) {
				labels = append(labels, k+"="+m.Labels[k])
			}
			return []string{m.Name, strings.Join(labels, ","), strconv.FormatFloat(m.Value, 'f', -1, 64), m.Help}
		},
	}.command(e)
}
