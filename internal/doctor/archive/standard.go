package archive

import (
	"slices"
	"strings"
)

// given are the modules that Lambda's Python runtimes bring beside the
// standard library: the SDK, what it needs, and the runtime itself.
var given = []string{
	"awslambdaric", "boto3", "bootstrap", "botocore", "dateutil", "jmespath", "s3transfer", "simplejson", "six", "snapshot_restore_py", "urllib3",
}

// standard are the modules of Python's standard library that every version
// from 3.7 on has (Python's documentation).
var standard = strings.Fields(`
	__future__ __main__ abc antigravity argparse array ast asyncio atexit base64 bdb binascii bisect builtins bz2 cProfile calendar cmath cmd code
	codecs codeop collections colorsys compileall concurrent configparser contextlib contextvars copy copyreg csv ctypes curses dataclasses datetime
	dbm decimal difflib dis doctest email encodings ensurepip enum errno faulthandler fcntl filecmp fileinput fnmatch fractions ftplib functools gc
	genericpath getopt getpass gettext glob grp gzip hashlib heapq hmac html http idlelib imaplib importlib inspect io ipaddress itertools json
	keyword linecache locale logging lzma mailbox marshal math mimetypes mmap modulefinder multiprocessing netrc ntpath nturl2path numbers opcode
	operator optparse os pathlib pdb pickle pickletools pkgutil platform plistlib poplib posix posixpath pprint profile pstats pty pwd py_compile
	pyclbr pydoc pydoc_data pyexpat queue quopri random re readline reprlib resource rlcompleter runpy sched secrets select selectors shelve shlex
	shutil signal site smtplib socket socketserver sqlite3 sre_compile sre_constants sre_parse ssl stat statistics string stringprep struct
	subprocess symtable sys sysconfig syslog tabnanny tarfile tempfile termios textwrap this threading time timeit tkinter token tokenize trace
	traceback tracemalloc tty turtle turtledemo types typing unicodedata unittest urllib uuid venv warnings wave weakref webbrowser wsgiref xml
	xmlrpc zipapp zipfile zipimport zlib`)

// removed maps the number of the version 3.N that no longer has them to
// modules (Python's documentation).
var removed = map[int][]string{
	8:  {"macpath"},
	9:  {"dummy_threading", "_dummy_thread"},
	10: {"formatter", "parser", "symbol"},
	11: {"binhex"},
	12: {"asynchat", "asyncore", "distutils", "imp", "smtpd"},
	13: {
		"aifc", "audioop", "cgi", "cgitb", "chunk", "crypt", "imghdr", "lib2to3", "mailcap", "nis", "nntplib", "ossaudiodev", "pipes", "sndhdr",
		"spwd", "sunau", "telnetlib", "uu", "xdrlib",
	},
}

// added maps the number of the first version 3.N that has them to modules.
var added = map[int][]string{
	9:  {"graphlib", "zoneinfo"},
	11: {"tomllib"},
	14: {"annotationlib", "compression"},
}

// isStandard tells whether a version of Python, such as 3.12, has a module of
// the standard library. Of those that begin with an underscore only the ones
// that programs are known to import count.
func isStandard(module, version string) bool {
	if slices.Contains(standard, module) {
		return true
	}
	minor := 0
	if n := numbers(version); len(n) > 1 {
		minor = n[1]
	}
	for until, modules := range removed {
		if slices.Contains(modules, module) {
			return minor < until
		}
	}
	for since, modules := range added {
		if slices.Contains(modules, module) {
			return minor >= since
		}
	}
	return slices.Contains([]string{"_thread", "_collections_abc", "_io", "_socket", "_ssl", "_strptime", "_weakref", "_weakrefset", "_winapi"}, module)
}
