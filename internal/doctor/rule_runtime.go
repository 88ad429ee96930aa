package doctor

import (
	"fmt"
	"slices"
	"strings"
)

func runtimeRules() []rule {
	return []rule{
		{"D53", "The package is built for another system image", phaseRuntime,
			[]string{"its libraries need a newer GLIBC, or are of another processor", "a library is missing"},
			[]string{"build it in the runtime's image"}, checkBuild},
		{"D49", "The function's module does not load", phaseRuntime,
			[]string{"the runtime was changed without the libraries of the package", "the handler's name is wrong", "the package's layout"},
			[]string{"set the runtime back, then upgrade properly", "correct the handler"}, checkImport},
		{"D52", "The function's process ended", phaseRuntime,
			[]string{"too little memory", "its temporary space is full", "it exits by itself"}, []string{"raise the memory"}, checkCrash},
		{"D50", "The function's runtime is past its end", phaseRuntime,
			[]string{"it was made before November 2022 with Python 3.7, or never moved on"}, []string{"the upgrade path by how it was deployed"}, checkDeprecated},
		{"D51", "The function runs on Python 3.9", phaseRuntime,
			[]string{"it was made before the templates moved to Python 3.10"}, []string{"the upgrade path by how it was deployed"}, checkPython39},
	}
}

var glibcWanted = compiled(`GLIBC_([0-9.]+)`)

func checkBuild(c *Case) *Finding {
	f := c.bySymptom(wrongBuild, Certain, fmt.Sprintf("The package of %s holds libraries that the runtime %s cannot load: they were built for another system or processor.", c.functionName(), c.runtime()))
	if f == nil {
		return nil
	}
	f.not("D49", "the module was found; what it links against is not there")
	if m := glibcWanted.FindStringSubmatch(c.told.Text); m != nil {
		f.Cause += " They want GLIBC " + m[1] + "."
	}
	for _, n := range c.natives() {
		if n.GLIBC != "" || c.Function.Architecture != "" && n.Architecture != "" && n.Architecture != c.Function.Architecture {
			f.fact(Fact{Source: "package", Where: n.Path, Text: fmt.Sprintf("%s is for %s and needs GLIBC %s", n.Path, n.Architecture, n.GLIBC)})
		}
	}
	f.cure("Build the package in the image of its runtime, for its processor.", "", c.onFunction("update-function-code", "--zip-file", "fileb://function.zip"))
	return c.again(f, false)
}

func (c *Case) runtime() string {
	if c.Function == nil || c.Function.Runtime == "" {
		return "of the function"
	}
	return c.Function.Runtime
}

func (c *Case) natives() []Native {
	if c.Function == nil || c.Function.Code == nil {
		return nil
	}
	return c.Function.Code.Natives
}

// otherPython returns a native module that is for another Python than the
// function's runtime.
func (c *Case) otherPython() (Native, bool) {
	version, python := strings.CutPrefix(c.runtime(), "python")
	for _, n := range c.natives() {
		if python && n.Python != "" && n.Python != version {
			return n, true
		}
	}
	return Native{}, false
}

func checkImport(c *Case) *Finding {
	f := c.bySymptom(noImport, Likely, fmt.Sprintf("The module of %s does not load.", c.functionName()))
	if f == nil {
		return nil
	}
	f.not("D01", "the function's code never ran")
	code := (*Code)(nil)
	if c.Function != nil {
		code = c.Function.Code
		f.saw("GetFunctionConfiguration", "Runtime %s, Handler %s", c.Function.Runtime, c.Function.Handler)
	}
	if n, ok := c.otherPython(); ok {
		f.Confidence = Certain
		f.Cause = fmt.Sprintf("%s runs on %s, but its package holds modules for Python %s: the runtime was changed without the libraries.", c.functionName(), c.runtime(), n.Python)
		f.fact(Fact{Source: "package", Where: n.Path, Text: n.Path + " is for Python " + n.Python})
		f.cure("Set the runtime back, and upgrade properly afterwards.", "Lambda may no longer take an old runtime back: then upgrade at once.",
			c.onFunction("update-function-configuration", "--runtime", "python"+n.Python))
		c.upgrade(f)
		return c.again(f, false)
	}
	t := c.told.Text
	switch {
	case strings.Contains(t, "HandlerNotFound") || strings.Contains(t, "missing on module") || code != nil && !code.HandlerFound && code.Files > 0 && !code.Truncated && c.Function.Handler != "":
		f.Confidence = Certain
		f.Cause = fmt.Sprintf("The package of %s does not have the handler %s.", c.functionName(), c.handler())
		f.cure("Name the handler that the package has (file.function).", "", c.onFunction("update-function-configuration", "--handler", "lambda_function.lambda_handler"))
	case code != nil && len(code.Imports) > 0:
		f.Confidence = Certain
		f.Cause = fmt.Sprintf("%s imports %s, which its package does not hold.", c.functionName(), list(code.Imports))
		f.fact(Fact{Source: "package", Where: code.HandlerFile, Text: "imports that nothing provides: " + strings.Join(code.Imports, ", ")})
		f.cure("Build the package with its libraries.", "", c.onFunction("update-function-code", "--zip-file", "fileb://function.zip"))
	default:
		f.look("what the package holds: keyturn doctor reads it where lambda:GetFunction is allowed")
		f.cure("Build the package with its libraries, for its runtime.", "", c.onFunction("update-function-code", "--zip-file", "fileb://function.zip"))
	}
	return c.again(f, false)
}

func (c *Case) handler() string {
	if c.Function == nil {
		return ""
	}
	return c.Function.Handler
}

func checkCrash(c *Case) *Finding {
	f := c.bySymptom(crashed, Likely, fmt.Sprintf("The process of %s ended in the middle of the step.", c.functionName()))
	if f == nil {
		return nil
	}
	f.not("D02", "it was not its time that ran out")
	full := c.run != nil && c.run.MemoryMB > 0 && c.run.MaxMemoryMB >= c.run.MemoryMB*95/100
	said := strings.Contains(c.told.Text, "MemoryError") || strings.Contains(c.told.Text, "OutOfMemory") || strings.Contains(c.told.Text, "signal: killed")
	switch {
	case strings.Contains(c.told.Text, "No space left"):
		f.Confidence, f.Cause = Certain, fmt.Sprintf("The temporary space of %s is full.", c.functionName())
		f.cure("Give it more (up to 10240 MB).", "", c.onFunction("update-function-configuration", "--ephemeral-storage", "Size=1024"))
		return c.again(f, false)
	case full || said:
		if full {
			f.Confidence = Certain
			f.fact(Fact{Source: "log", At: c.run.StartedAt, Where: c.run.RequestID, Text: fmt.Sprintf("Max Memory Used: %d MB of %d MB", c.run.MaxMemoryMB, c.run.MemoryMB)})
		}
		f.Cause = fmt.Sprintf("%s ran out of memory.", c.functionName())
		mb := int32(128)
		if c.Function != nil && c.Function.MemoryMB > 0 {
			mb = c.Function.MemoryMB
		} else if c.run != nil && c.run.MemoryMB > 0 {
			mb = c.run.MemoryMB
		}
		mb = min(2*max(mb, 128), 10240)
		f.cure(fmt.Sprintf("Give it %d MB.", mb), "", c.onFunction("update-function-configuration", "--memory-size", fmt.Sprint(mb)))
		return c.again(f, false)
	}
	f.look("what the function wrote before it ended, and whether it exits by itself")
	f.cure("Look at the end of its log.", "", c.logsCommand())
	return c.again(f, false)
}

// ended are the runtimes that AWS no longer supports, the Python that
// rotation functions are of and the Node.js of old ones, with the day on
// which support ended (AWS docs).
var ended = map[string]string{
	"python2.7": "2021-07-15", "python3.6": "2022-07-18", "python3.7": "2023-12-04", "python3.8": "2024-10-14",
	"nodejs10.x": "2021-07-30", "nodejs12.x": "2023-03-31", "nodejs14.x": "2023-12-04", "nodejs16.x": "2024-06-12", "nodejs18.x": "2025-09-01",
}

func checkDeprecated(c *Case) *Finding {
	day, old := ended[c.runtime()]
	if !old {
		return nil
	}
	f := c.finding(Certain, fmt.Sprintf("%s runs on %s, which AWS stopped supporting on %s: it gets no corrections, and cannot be changed for ever.", c.functionName(), c.runtime(), day)).as(rankRisk)
	f.Step = ""
	f.saw("GetFunctionConfiguration", "Runtime %s", c.runtime())
	f.fact(c.ageFact())
	return c.upgrade(f)
}

func checkPython39(c *Case) *Finding {
	if c.runtime() != "python3.9" {
		return nil
	}
	f := c.finding(Certain, fmt.Sprintf("%s runs on Python 3.9, whose support ended on 2025-12-15; AWS's templates have moved to 3.10.", c.functionName())).as(rankRisk)
	f.Step = ""
	f.saw("GetFunctionConfiguration", "Runtime python3.9")
	f.fact(c.ageFact())
	if i := slices.IndexFunc(c.natives(), func(n Native) bool { return n.Python != "" }); i >= 0 {
		n := c.natives()[i]
		f.fact(Fact{Source: "package", Where: n.Path, Text: n.Path + " is for Python " + n.Python})
	}
	return c.upgrade(f)
}
