//go:build linux

package faultdisk

import (
	"context"
	"path"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a file or folder of the disk.
type node struct {
	fs.LoopbackNode
	disk *Disk
}

var (
	_ fs.NodeWrapChilder = (*node)(nil)
	_ fs.NodeCreater     = (*node)(nil)
	_ fs.NodeOpener      = (*node)(nil)
	_ fs.NodeMkdirer     = (*node)(nil)
	_ fs.NodeSymlinker   = (*node)(nil)
	_ fs.NodeRenamer     = (*node)(nil)
	_ fs.NodeUnlinker    = (*node)(nil)
	_ fs.NodeSetattrer   = (*node)(nil)
)

// WrapChild implements fs.NodeWrapChilder.
func (n *node) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	made := &node{disk: n.disk}
	made.RootData = child.(*fs.LoopbackNode).RootData
	return made
}

func (n *node) name() string             { return n.Path(n.Root()) }
func (n *node) below(name string) string { return path.Join(n.name(), name) }

// Create implements fs.NodeCreater.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (inode *fs.Inode, h fs.FileHandle, fuseFlags uint32, errno syscall.Errno) {
	errno = n.disk.try(Create, n.below(name), func() syscall.Errno {
		inode, h, fuseFlags, errno = n.LoopbackNode.Create(ctx, name, flags, mode, out)
		return errno
	})
	if errno != 0 {
		return nil, nil, 0, errno
	}
	made := inode.Operations().(*node)
	return inode, &handle{h.(*fs.LoopbackFile), made}, fuseFlags, 0
}

// Open implements fs.NodeOpener.
func (n *node) Open(ctx context.Context, flags uint32) (h fs.FileHandle, fuseFlags uint32, errno syscall.Errno) {
	errno = n.disk.try(Open, n.name(), func() syscall.Errno {
		h, fuseFlags, errno = n.LoopbackNode.Open(ctx, flags)
		return errno
	})
	if errno != 0 {
		return nil, 0, errno
	}
	return &handle{h.(*fs.LoopbackFile), n}, fuseFlags, 0
}

// Mkdir implements fs.NodeMkdirer.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (inode *fs.Inode, errno syscall.Errno) {
	errno = n.disk.try(Create, n.below(name), func() syscall.Errno {
		inode, errno = n.LoopbackNode.Mkdir(ctx, name, mode, out)
		return errno
	})
	return inode, errno
}

// Symlink implements fs.NodeSymlinker.
func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (inode *fs.Inode, errno syscall.Errno) {
	errno = n.disk.try(Create, n.below(name), func() syscall.Errno {
		inode, errno = n.LoopbackNode.Symlink(ctx, target, name, out)
		return errno
	})
	return inode, errno
}

// Rename implements fs.NodeRenamer.
func (n *node) Rename(ctx context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	return n.disk.try(Rename, n.below(name), func() syscall.Errno { return n.LoopbackNode.Rename(ctx, name, parent, newName, flags) })
}

// Unlink implements fs.NodeUnlinker.
func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	return n.disk.try(Remove, n.below(name), func() syscall.Errno { return n.LoopbackNode.Unlink(ctx, name) })
}

// Setattr implements fs.NodeSetattrer.
func (n *node) Setattr(ctx context.Context, h fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	set := func() syscall.Errno { return n.LoopbackNode.Setattr(ctx, h, in, out) }
	if _, resized := in.GetSize(); resized {
		return n.disk.try(Truncate, n.name(), set)
	}
	return set()
}

// handle is an open file. It leaves out what would let the kernel go past it.
type handle struct {
	file *fs.LoopbackFile
	node *node
}

var (
	_ fs.FileReader    = (*handle)(nil)
	_ fs.FileWriter    = (*handle)(nil)
	_ fs.FileFsyncer   = (*handle)(nil)
	_ fs.FileFlusher   = (*handle)(nil)
	_ fs.FileReleaser  = (*handle)(nil)
	_ fs.FileGetattrer = (*handle)(nil)
	_ fs.FileSetattrer = (*handle)(nil)
)

// Read implements fs.FileReader.
func (h *handle) Read(ctx context.Context, p []byte, off int64) (res fuse.ReadResult, errno syscall.Errno) {
	errno = h.node.disk.try(Read, h.node.name(), func() syscall.Errno {
		res, errno = h.file.Read(ctx, p, off)
		return errno
	})
	return res, errno
}

// Write implements fs.FileWriter.
func (h *handle) Write(ctx context.Context, data []byte, off int64) (n uint32, errno syscall.Errno) {
	errno = h.node.disk.try(Write, h.node.name(), func() syscall.Errno {
		n, errno = h.file.Write(ctx, data, off)
		return errno
	})
	return n, errno
}

// Fsync implements fs.FileFsyncer.
func (h *handle) Fsync(ctx context.Context, flags uint32) syscall.Errno {
	return h.node.disk.try(Sync, h.node.name(), func() syscall.Errno { return h.file.Fsync(ctx, flags) })
}

// Flush implements fs.FileFlusher.
func (h *handle) Flush(ctx context.Context) syscall.Errno { return h.file.Flush(ctx) }

// Release implements fs.FileReleaser.
func (h *handle) Release(ctx context.Context) syscall.Errno { return h.file.Release(ctx) }

// Getattr implements fs.FileGetattrer.
func (h *handle) Getattr(ctx context.Context, out *fuse.AttrOut) syscall.Errno {
	return h.file.Getattr(ctx, out)
}

// Setattr implements fs.FileSetattrer; the node has looked for faults.
func (h *handle) Setattr(ctx context.Context, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return h.file.Setattr(ctx, in, out)
}
