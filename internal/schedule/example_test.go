package schedule_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/schedule"
)

func ExampleSchedule_Preview() {
	s, err := schedule.Parse(schedule.Rules{Expression: "cron(0 16 1,15 * ? *)", Duration: "2h"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, w := range s.Preview(3, time.Date(2025, 3, 10, 5, 30, 0, 0, time.UTC)) {
		fmt.Println(w.Start.Format("Mon 2006-01-02 15:04"), "to", w.End.Format("15:04"))
	}
	// Output:
	// Sat 2025-03-15 16:00 to 18:00
	// Tue 2025-04-01 16:00 to 18:00
	// Tue 2025-04-15 16:00 to 18:00
}

func ExampleSchedule_Firing() {
	s, err := schedule.Parse(schedule.Rules{AutomaticallyAfterDays: 30})
	if err != nil {
		fmt.Println(err)
		return
	}
	h := schedule.History{
		Configured: time.Date(2026, 1, 10, 9, 0, 0, 0, time.UTC),
		Consumed:   time.Date(2026, 1, 22, 6, 42, 22, 0, time.UTC),
	}
	date, _ := s.NextRotationDate(h)
	f, _ := s.Firing(h, "arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-AbCdEf")
	fmt.Println("shown as", date)
	fmt.Println("due at  ", f.At)
	fmt.Println("missed from", f.Window.End)
	// Output:
	// shown as 2026-02-21 23:59:59 +0000 UTC
	// due at   2026-02-21 02:35:54 +0000 UTC
	// missed from 2026-02-22 00:00:00 +0000 UTC
}

func ExampleParse_refused() {
	_, err := schedule.Parse(schedule.Rules{Expression: "cron(0 1/2 * * ? *)"})
	fe, _ := errors.AsType[*fault.Error](err)
	fmt.Println("client:", fe.Message)
	fmt.Println("log:   ", fe.Cause)
	// Output:
	// client: Invalid schedule expression.
	// log:    the hours field does not take "1/2"
}
