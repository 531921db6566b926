// Package controller is not built here: this file joins the provisioner's library, whose v13.0.0 lacks the type.
package controller

// VolumeInUseError says that a volume is not deleted yet because it is attached. v13.1.0 tells the user so in a normal event;
// v13.0.0 treats it as any other error, with a warning.
type VolumeInUseError struct {
	Reason string
}

func (e *VolumeInUseError) Error() string {
	return e.Reason
}
