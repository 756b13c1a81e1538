module journal/peer

go 1.24

require github.com/fernet/fernet-go v0.0.0-20240119011108-303da6aec611
