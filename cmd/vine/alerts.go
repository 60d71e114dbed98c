package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/config"
	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/notify"
)

// notifierOf makes what tells people of alerts, with the secrets that the configuration names files of.
func notifierOf(c config.Alerts, log *slog.Logger) (*notify.Notifier, error) {
	h := c.Hooks
	secret := func(key, path string) ([]byte, error) {
		if path == "" {
			return nil, nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, badConfig(fmt.Errorf("alerts.%s: %w", key, err))
		}
		if b = bytes.TrimSpace(b); len(b) == 0 {
			return nil, badConfig(fmt.Errorf("alerts.%s: %s is empty", key, path))
		}
		return b, nil
	}
	var err error
	if h.WebhookKey, err = secret("webhook_key_file", c.WebhookKey); err != nil {
		return nil, err
	}
	password, err := secret("mail_password_file", c.MailPassword)
	if err != nil {
		return nil, err
	}
	h.Mail.Password = string(password)
	return notify.New(h, log), nil
}

func newAlertsCommand(e *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "alerts",
		Short: "What is wrong now, and whether people were told",
		Long: `Lists what has been wrong for half a minute: a VR that gossip holds for dead and that this VR has no link
with (vr-silent), no current head of the authority (head-expired), two documents for one version
(equivocation, at once), a state directory that cannot be written (disk), a key or an enrolment near its end
(ending), a limited VR without a queue-VR (no-relay). Below it stands what became of the hooks that
[alerts] in the configuration names: they are told once when an alert begins and once when it is over.`,
		Example: "  vine alerts\n  vine alerts test",
		Args:    takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			return e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
				a, err := vr.Alerts(ctx)
				if err != nil {
					return err
				}
				if e.json {
					return e.printJSON(document{"alerts": a.Alerts, "hooks": a.Hooks})
				}
				var rows [][]string
				for _, x := range a.Alerts {
					rows = append(rows, []string{x.Kind, x.Subject, x.Since.Format(time.RFC3339), x.Text})
				}
				if len(rows) == 0 {
					e.say("nothing is wrong")
				} else if err := e.table([]string{"ALERT", "SUBJECT", "SINCE", "TEXT"}, rows); err != nil {
					return err
				}
				return e.printHooks(a.Hooks)
			})
		},
	}
	c.AddCommand(newAlertsTestCommand(e))
	return c
}

func newAlertsTestCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:     "test",
		Short:   "Try every way in which people are told of alerts",
		Long:    "Has the VR send an alert of kind test through every hook that [alerts] in its configuration names, once, and says what came of it.",
		Example: "  vine alerts test",
		Args:    takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			return e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
				hooks, err := vr.TryAlerts(ctx)
				if err != nil {
					return err
				}
				if e.json {
					err = e.printJSON(document{"hooks": hooks})
				} else {
					err = e.printHooks(hooks)
				}
				if err != nil {
					return err
				}
				for _, h := range hooks {
					if h.Failed > 0 {
						return errors.New("not every hook works")
					}
				}
				if len(hooks) == 0 {
					return hinted(errors.New("nobody is told of alerts"), "name a command, a webhook or mail under [alerts] in the configuration, and restart the VR")
				}
				return nil
			})
		},
	}
}

func (e *Env) printHooks(hooks []control.Hook) error {
	if len(hooks) == 0 {
		return nil
	}
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	var rows [][]string
	for _, h := range hooks {
		rows = append(rows, []string{h.Hook, number(h.Sent), number(h.Failed), number(h.Dropped), h.Error})
	}
	return e.table([]string{"HOOK", "SENT", "FAILED", "DROPPED", "ERROR"}, rows)
}
