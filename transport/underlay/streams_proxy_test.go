package underlay_test

import "net/url"

// proxyURL parses a URL that is known to be one.
func proxyURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}
