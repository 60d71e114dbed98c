package portmap

import "context"

type outside struct{}

func system() outside { return outside{} }

func run(ctx context.Context, p *Portmap) error {
	<-ctx.Done()
	return context.Cause(ctx)
}
