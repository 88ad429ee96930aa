package cli

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/keyturn/keyturn/internal/admin"
)

type accountCmd struct {
	Create accountCreateCmd `cmd:"" help:"Make an account and print the access key of its root."`
	List   accountListCmd   `cmd:"" help:"List the accounts."`
	Show   accountShowCmd   `cmd:"" help:"Show an account and the access keys of its root."`
	Key    accountKeyCmd    `cmd:"" help:"Replace the access keys of an account's root."`
}

type accountKeyCmd struct {
	Create keyCreateCmd `cmd:"" help:"Make another access key of an account's root and print it."`
	Delete keyDeleteCmd `cmd:"" help:"Delete an access key of an account's root."`
}

type accountCreateCmd struct {
	Name          string `arg:"" help:"Name for people, up to 50 characters."`
	ID            string `name:"id" help:"Account ID of 12 digits; the server chooses one when empty." placeholder:"DIGITS"`
	operatorFlags `embed:""`
}

// Run makes an account.
func (c *accountCreateCmd) Run(p *program) error {
	client, err := c.client(p.ctx)
	if err != nil {
		return err
	}
	made, err := client.CreateAccount(p.ctx, c.Name, c.ID)
	if err != nil {
		return err
	}
	return c.show(p.stdout, made, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "# Account %s (%s). The access key of its root is shown only now:\n", made.Account.AccountID, made.Account.Name)
		printKey(w, &made.AccessKey)
	})
}

// printKey writes lines for a shell.
func printKey(w io.Writer, k *admin.AccessKey) {
	_, _ = fmt.Fprintf(w, "export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\n", quote(k.AccessKeyID), quote(k.SecretAccessKey))
}

type accountListCmd struct {
	operatorFlags `embed:""`
}

// Run lists the accounts.
func (c *accountListCmd) Run(p *program) error {
	client, err := c.client(p.ctx)
	if err != nil {
		return err
	}
	list, err := client.ListAccounts(p.ctx)
	if err != nil {
		return err
	}
	return c.show(p.stdout, map[string]any{"Accounts": list}, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, a := range list {
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", a.AccountID, day(a.CreatedDate), a.Name)
		}
		_ = t.Flush() // stdout is written to without a look at errors everywhere
	})
}

func day(t admin.Time) string { return t.Format(time.DateOnly) }

type accountShowCmd struct {
	ID            string `arg:"" help:"Account ID."`
	operatorFlags `embed:""`
}

// Run shows an account.
func (c *accountShowCmd) Run(p *program) error {
	client, err := c.client(p.ctx)
	if err != nil {
		return err
	}
	a, err := client.DescribeAccount(p.ctx, c.ID)
	if err != nil {
		return err
	}
	return c.show(p.stdout, a, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "Account %s (%s), made on %s.\n", a.Account.AccountID, a.Account.Name, day(a.Account.CreatedDate))
		for _, k := range a.AccessKeys {
			used := "never used"
			if k.LastUsedDate != nil {
				used = "last used on " + day(*k.LastUsedDate)
			}
			_, _ = fmt.Fprintf(w, "Root access key %s, made on %s, %s.\n", k.AccessKeyID, day(k.CreatedDate), used)
		}
	})
}

type keyCreateCmd struct {
	ID            string `arg:"" help:"Account ID."`
	operatorFlags `embed:""`
}

// Run makes an access key.
func (c *keyCreateCmd) Run(p *program) error {
	client, err := c.client(p.ctx)
	if err != nil {
		return err
	}
	k, err := client.CreateRootAccessKey(p.ctx, c.ID)
	if err != nil {
		return err
	}
	return c.show(p.stdout, map[string]any{"AccessKey": k}, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "# Access key of the root of account %s, shown only now:\n", k.AccountID)
		printKey(w, k)
	})
}

type keyDeleteCmd struct {
	ID            string `arg:"" help:"Account ID."`
	AccessKey     string `arg:"" help:"Access key ID."`
	operatorFlags `embed:""`
}

// Run deletes an access key.
func (c *keyDeleteCmd) Run(p *program) error {
	client, err := c.client(p.ctx)
	if err != nil {
		return err
	}
	if err := client.DeleteRootAccessKey(p.ctx, c.ID, c.AccessKey); err != nil {
		return err
	}
	return c.show(p.stdout, map[string]any{}, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "Access key %s of the root of account %s deleted.\n", c.AccessKey, c.ID)
	})
}
