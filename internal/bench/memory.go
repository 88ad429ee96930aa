package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
)

// memory compares what the execution environments hold: the proportional set
// size, which divides shared pages among those who share them, and the peak
// that the functions' REPORT lines show.
func (b *rotationBench) memory(ctx context.Context) error {
	fmt.Printf("Memory of an execution environment, of %d that have just worked\n", crowd)
	pss := map[string]int64{}
	for _, function := range []string{pythonFunction, builtinFunction} {
		n, held := environments(function)
		if n == 0 {
			return fmt.Errorf("no execution environment of %s runs", function)
		}
		pss[function] = held.pss / int64(n)
		peak, err := b.peak(ctx, function)
		if err != nil {
			return err
		}
		fmt.Printf("  %-32s %d running: PSS %s, of that private %s; RSS %s; REPORT lines' peak %d MB", function, n,
			mebibytes(pss[function]), mebibytes(held.private/int64(n)), mebibytes(held.rss/int64(n)), peak)
		if function == builtinFunction {
			fmt.Printf("   x%.2f of PSS", float64(pss[function])/float64(pss[pythonFunction]))
		}
		fmt.Println()
	}
	fmt.Println()
	return nil
}

// held is what processes hold, in bytes.
type held struct{ pss, rss, private int64 }

// environments counts a function's processes and adds up what they hold.
func environments(function string) (n int, sum held) {
	found, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is right
	for _, name := range found {
		env, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(env, []byte("AWS_LAMBDA_FUNCTION_NAME="+function+"\x00")) {
			continue
		}
		rollup, err := os.ReadFile(filepath.Join(filepath.Dir(name), "smaps_rollup"))
		if err != nil {
			continue // it has just ended
		}
		n++
		sum.pss += kilobytes(rollup, "Pss:")
		sum.rss += kilobytes(rollup, "Rss:")
		sum.private += kilobytes(rollup, "Private_Dirty:") + kilobytes(rollup, "Private_Clean:")
	}
	return n, sum
}

// kilobytes reads a line of smaps_rollup, in bytes.
func kilobytes(rollup []byte, name string) int64 {
	for line := range strings.Lines(string(rollup)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			n, _ := strconv.ParseInt(fields[1], 10, 64) // the kernel writes numbers
			return n << 10
		}
	}
	return 0
}

var maxUsed = regexp.MustCompile(`Max Memory Used: (\d+) MB`)

// peak is the most that the REPORT lines of a function show, in MB.
func (b *rotationBench) peak(ctx context.Context, function string) (int, error) {
	pages := cloudwatchlogs.NewFilterLogEventsPaginator(cloudwatchlogs.NewFromConfig(b.cfg), &cloudwatchlogs.FilterLogEventsInput{
		LogGroupName: aws.String("/aws/lambda/" + function), FilterPattern: aws.String(`"REPORT RequestId"`),
	})
	most := 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, err
		}
		for _, e := range page.Events {
			if m := maxUsed.FindStringSubmatch(*e.Message); m != nil {
				n, _ := strconv.Atoi(m[1]) // digits
				most = max(most, n)
			}
		}
	}
	return most, nil
}

// held describes the memory of the process: what is its own, and what is
// pages of files, of the program itself above all, which the system can drop
// and read again.
func (p *process) held() string {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return "resident: " + err.Error()
	}
	own, files := kilobytes(status, "RssAnon:"), kilobytes(status, "RssFile:")
	return fmt.Sprintf("resident %s: own %s, pages of files %s", mebibytes(own+files), mebibytes(own), mebibytes(files))
}
