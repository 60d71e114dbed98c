package control

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// The types of Metric.
const (
	Counter = "counter" // only grows, from 0 at the start of the VR
	Gauge   = "gauge"
)

// A Metric is one figure of the VR's performance (dissertation table 5-2). Metrics of one name have the same help and
// type, and differ in their labels.
type Metric struct {
	Name   string            `json:"name"`
	Help   string            `json:"help"`
	Type   string            `json:"type"` // Counter or Gauge
	Labels map[string]string `json:"labels"`
	Value  float64           `json:"value"`
}

// writeMetrics returns list in Prometheus' text format.
func writeMetrics(list []Metric) ([]byte, error) {
	var families []*dto.MetricFamily
	for _, m := range list {
		i := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == m.Name })
		if i < 0 {
			kind := dto.MetricType_GAUGE
			if m.Type == Counter {
				kind = dto.MetricType_COUNTER
			}
			families = append(families, &dto.MetricFamily{Name: &m.Name, Help: &m.Help, Type: &kind})
			i = len(families) - 1
		}
		out := &dto.Metric{}
		for name, value := range m.Labels {
			value = strings.ToValidUTF8(value, "?")
			out.Label = append(out.Label, &dto.LabelPair{Name: &name, Value: &value})
		}
		slices.SortFunc(out.Label, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
		if m.Type == Counter {
			out.Counter = &dto.Counter{Value: &m.Value}
		} else {
			out.Gauge = &dto.Gauge{Value: &m.Value}
		}
		families[i].Metric = append(families[i].Metric, out)
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			return nil, fmt.Errorf("write metrics: %w", err)
		}
	}
	return text.Bytes(), nil
}

// readMetrics reads what writeMetrics has written, sorted by name; metrics of one name as they came.
func readMetrics(text []byte) ([]Metric, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	var list []Metric
	for _, f := range families {
		for _, m := range f.GetMetric() {
			out := Metric{Name: f.GetName(), Help: f.GetHelp(), Type: Gauge, Labels: map[string]string{}, Value: m.GetGauge().GetValue()}
			if f.GetType() == dto.MetricType_COUNTER {
				out.Type, out.Value = Counter, m.GetCounter().GetValue()
			}
			for _, l := range m.GetLabel() {
				out.Labels[l.GetName()] = l.GetValue()
			}
			list = append(list, out)
		}
	}
	slices.SortStableFunc(list, func(a, b Metric) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// metrics answers GET metrics.
func metrics(_ *streams, router Router, w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), answerPatience)
	defer cancel()
	list, err := router.Metrics(ctx)
	if err != nil {
		return err
	}
	text, err := writeMetrics(list)
	if err != nil {
		return err
	}
	write(w, http.StatusOK, typeMetrics, text)
	return nil
}

// Metrics implements Router.
func (c *Client) Metrics(ctx context.Context) ([]Metric, error) {
	text, err := c.get(ctx, http.MethodGet, pathMetrics, nil, 0, nil)
	if err != nil {
		return nil, err
	}
	list, err := readMetrics(text)
	if err != nil {
		return nil, c.strange(err)
	}
	return list, nil
}
