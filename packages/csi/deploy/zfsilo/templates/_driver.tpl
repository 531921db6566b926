{{/* What the driver gets in every mode. */}}
{{- define "zfsilo.driverArgs" -}}
- --endpoint=unix:///csi/csi.sock
- --driver-name={{ .Values.driverName }}
- --control-plane={{ include "zfsilo.controlPlane.url" . }}
- --token-file=/etc/zfsilo/token/token
{{- if ne .Values.tls.mode "none" }}
- --ca-file=/etc/zfsilo/ca/ca.crt
{{- else if hasPrefix "http://" (include "zfsilo.controlPlane.url" .) }}
- --plain-text
{{- end }}
- --health-address=:9809
- --log-level={{ .Values.logLevel }}
{{- end -}}

{{- define "zfsilo.driverProbes" -}}
ports:
  - { name: health, containerPort: 9809 }
# The process and its socket alone: a restart does not bring a control plane back.
livenessProbe:
  httpGet: { path: /healthz, port: health }
  initialDelaySeconds: 10
  periodSeconds: 20
  timeoutSeconds: 5
  failureThreshold: 3
# The liveness-probe sidecar asks Probe, which tells whether the control plane answers.
readinessProbe:
  httpGet: { path: /healthz, port: 9808 }
  periodSeconds: 10
  timeoutSeconds: 4
  failureThreshold: 2
{{- end -}}

{{- define "zfsilo.driverMounts" -}}
- { name: token, mountPath: /etc/zfsilo/token, readOnly: true }
{{- if ne .Values.tls.mode "none" }}
- { name: ca, mountPath: /etc/zfsilo/ca, readOnly: true }
{{- end }}
{{- end -}}

{{- define "zfsilo.driverVolumes" -}}
- name: token
  secret:
    secretName: {{ include "zfsilo.tokenSecret" . }}
    items: [{ key: token, path: token }]
{{- if ne .Values.tls.mode "none" }}
- name: ca
  secret:
    secretName: {{ include "zfsilo.tlsSecret" . }}
    items: [{ key: ca.crt, path: ca.crt }]
{{- end }}
{{- end -}}
