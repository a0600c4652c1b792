// The one small static program that a test cluster adds to Kubernetes' own. What it does is its first argument:
//
//	init                 process 1 of a node or a pod: buries the dead until it is told to stop
//	forward FD ADDRESS   passes connections of the listening socket FD on to ADDRESS, as this process sees the network
//	serve ADDRESS        answers every request with the host's name
//	get URL              prints the answer to URL, asked again until there is one, for at most a minute; with the pod's
//	                     service account where it has one
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	switch {
	case len(arguments) == 0 || arguments[0] == "init":
		return bury()
	case arguments[0] == "forward" && len(arguments) == 3:
		return forward(arguments[1], arguments[2])
	case arguments[0] == "serve" && len(arguments) == 2:
		return serve(arguments[1])
	case arguments[0] == "get" && len(arguments) == 2:
		return get(arguments[1])
	}
	return fmt.Errorf("init, forward FD ADDRESS, serve ADDRESS or get URL, not %q", arguments)
}

func bury() error {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGTERM, syscall.SIGINT)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return nil
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 && err != syscall.EINTR {
				break
			}
		}
	}
	return nil
}

func forward(descriptor, address string) error {
	number, err := strconv.Atoi(descriptor)
	if err != nil {
		return err
	}
	listener, err := net.FileListener(os.NewFile(uintptr(number), "listener"))
	if err != nil {
		return err
	}
	for {
		near, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer near.Close()
			far, err := net.Dial("tcp", address)
			if err != nil {
				return
			}
			defer far.Close()
			done := make(chan struct{}, 2)
			pass := func(to, from net.Conn) {
				io.Copy(to, from)
				to.(*net.TCPConn).CloseWrite()
				done <- struct{}{}
			}
			go pass(far, near)
			go pass(near, far)
			<-done
			<-done
		}()
	}
}

func serve(address string) error {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	server := &http.Server{Addr: address, Handler: http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
		name, _ := os.Hostname()
		fmt.Fprintln(answer, name)
	})}
	go func() {
		<-stop.Done()
		server.Close()
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func get(url string) error {
	client := &http.Client{Timeout: 5 * time.Second}
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if token, err := os.ReadFile(account + "token"); err == nil && request.URL.Scheme == "https" {
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		bundle, err := os.ReadFile(account + "ca.crt")
		if err != nil {
			return err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(bundle)
		client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	}
	for until := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		answer, err := client.Do(request)
		if err == nil {
			defer answer.Body.Close()
			_, err = io.Copy(os.Stdout, answer.Body)
			if err == nil && answer.StatusCode != http.StatusOK {
				return fmt.Errorf("%s answered %s", url, answer.Status)
			}
			return err
		}
		if time.Now().After(until) {
			return err
		}
	}
}
