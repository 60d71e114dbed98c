// Package notify tells people of alerts: by a command, a webhook, or mail. Each way has a bounded queue of its own, so that a slow one
// keeps no other waiting, and tries again for a while.
package notify
